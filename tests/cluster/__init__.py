# SPDX-License-Identifier: BSD-3-Clause
"""A cluster for tests: Slurm, a shared filesystem and a production gateway, on this machine.

The fixture `cluster` gives one to all tests of a run. Each of its nodes n1, n2 and n3, and the
control node ctl, which is also where users log in, is a set of namespaces: a network, mounts,
processes and a host name of its own, with a root that is an overlay over this machine's. They share
nothing but a GlusterFS (`/global`: images, homes, scratch, caches) on which root has no rights.

    cluster.nodes                       ["n1", "n2", "n3"]
    cluster.run("n1", "id", user="alice", env={"A": "b"}, cwd="/tmp", timeout=60)
                                        runs it there; gives a CompletedProcess; user may be "root"
    cluster.output(...)                 the same; gives what it prints, and it must succeed
    cluster.start_program(...)                  the same as run, without waiting: gives a Popen
    cluster.srun("-N3", "shifter", "id", user="alice")     as a user does who is logged in to ctl
    cluster.sbatch(script, "-N3", "--image=a:1")           gives a Job: .wait() .output() .state()
    cluster.shared, cluster.home("alice")                  the same paths on all nodes
    cluster.read(path), cluster.write(path, text)          a file there, as its user
    cluster.push_image("lib/a:1", layers, config)          puts an image into the site's registry
    cluster.pull("docker:lib/a:1")      shifterimg pull; gives the image's id
    cluster.busybox                     an image that is there: `docker:lib/busybox:1`
    with cluster.plugstack(enable_sshd=1, pull_at_submit=1):      other arguments of the plugin
    with cluster.without_plugin():      a prolog, or an epilog, that never runs
    with cluster.settings(siteFs="/global:/global"):              other keys of udiRoot.conf
    cluster.node_states(), cluster.assert_no_drain(), cluster.wait_idle()
    cluster.mounts("n1"), cluster.is_clean("n1")           what Shifter has mounted and kept there
    cluster.gateway_requests()          how many lookups the gateway has answered
    cluster.reboot("n1"), cluster.node("n1").stop_slurmd(), .start_slurmd(), .pids("sleep 7")

It all lives in one process namespace, whose first process ends with its standard input, which is
held by the tests: however those end, every process, mount and interface is gone with them. Several
runs at once do not meet: no name and no address of a cluster is seen outside of it.
"""
