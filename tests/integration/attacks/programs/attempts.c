/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tries what only root may, and what could lead there, and says "NAME: done" or "NAME: refused" of
 * each. `attempts namespace` tries it again as root of a user namespace of its own; `attempts
 * terminal` tries what a terminal offers. Nothing that it does would last if it worked, but for
 * what the test then fails of.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *name, int worked)
{
	printf("%s: %s\n", name, worked ? "done" : "refused");
}

static void try_open(const char *name, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	say(name, fd >= 0);
	if (fd >= 0)
		close(fd);
}

static void try_path(const char *path, int flags)
{
	char name[256];

	snprintf(name, sizeof(name), "open %s%s", path, flags == O_RDONLY ? "" : " for writing");
	try_open(name, path, flags);
}

static void try_files(void)
{
	static const char *const devices[] = {
		"/dev/mem", "/dev/port", "/dev/loop-control", "/dev/loop0", "/dev/loop1", "/dev/vda",
		"/dev/sda", "/dev/nvme0n1", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/kvm",
		"/dev/fuse", "/dev/btrfs-control", "/dev/mapper/control", "/dev/cpu/0/msr", "/dev/hwrng",
		"/dev/rtc0", "/dev/snapshot", "/dev/vhost-net", "/dev/net/tun", "/dev/uinput",
		"/proc/kcore", "/proc/kmsg", "/proc/kallsyms", "/proc/1/mem", "/proc/1/environ",
		"/proc/1/root/etc/shadow", "/proc/1/ns/mnt", "/proc/iomem", "/proc/vmallocinfo",
		"/proc/slabinfo", "/proc/timer_list", "/sys/kernel/debug/", "/sys/kernel/tracing/trace",
		"/sys/kernel/security/", "/sys/firmware/dmi/tables/DMI",
	};
	static const char *const written[] = {
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
		"/proc/sys/kernel/hostname", "/proc/sys/fs/suid_dumpable", "/proc/sys/net/ipv4/ip_forward",
		"/proc/sys/fs/binfmt_misc/register", "/proc/acpi/wakeup", "/proc/1/oom_score_adj",
		"/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/ksm/run",
		"/sys/module/kernel/parameters/panic", "/sys/fs/cgroup/release_agent",
		"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/release_agent", "/dev/kmsg",
		"/etc/passwd", "/var/shifterConfig.json", "/bin/busybox",
	};

	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		try_path(devices[i], O_RDONLY);
	for (size_t i = 0; i < sizeof(written) / sizeof(*written); i++)
		try_path(written[i], O_WRONLY);
	try_open("open /proc/sysrq-trigger", "/proc/sysrq-trigger", O_WRONLY);
	try_open("write /proc/sys/kernel/core_pattern", "/proc/sys/kernel/core_pattern", O_WRONLY);
}

static void try_cgroups(void)
{
	int worked = 0;

	/* CVE-2022-0492: a hierarchy of version 1 that is mounted anew, with a release_agent. */
	mkdir("/tmp/attempts-cgroup", 0700);
	if (mount("cgroup", "/tmp/attempts-cgroup", "cgroup", 0, "rdma") == 0 ||
	    mount("cgroup", "/tmp/attempts-cgroup", "cgroup", 0, "memory") == 0) {
		int fd = open("/tmp/attempts-cgroup/release_agent", O_WRONLY);

		worked = fd >= 0;
		umount("/tmp/attempts-cgroup");
	}
	rmdir("/tmp/attempts-cgroup");
	say("write release_agent", worked);
}

static void try_identities(void)
{
	unsigned int everything[6] = {~0U, ~0U, ~0U, ~0U, ~0U, ~0U};
	unsigned int header[2] = {0x20080522, 0};
	gid_t root = 0;

	say("setuid 0", getuid() != 0 && setuid(0) == 0);
	say("setgid 0", getgid() != 0 && setgid(0) == 0);
	say("setgroups", setgroups(1, &root) == 0);
	say("capset everything", syscall(SYS_capset, header, everything) == 0);
	say("raise an ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0) == 0);
	say("undo no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
	say("ptrace 1", ptrace(PTRACE_SEIZE, 1, 0, 0) == 0);
}

static void try_calls(void)
{
	union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 4,
				     .max_entries = 1};
	struct timeval now;
	int fd;

	gettimeofday(&now, NULL);
	say("settimeofday", settimeofday(&now, NULL) == 0);
	say("mount tmpfs", mount("attempts", "/tmp", "tmpfs", 0, "") == 0);
	say("mount proc", mount("attempts", "/tmp", "proc", 0, "") == 0);
	say("umount /proc", umount2("/proc", MNT_DETACH) == 0);
	say("umount /dev", umount2("/dev", MNT_DETACH) == 0);
	say("chroot", chroot("/") == 0);
	say("pivot_root", syscall(SYS_pivot_root, "/", "/") == 0);
	say("mknod /dev/null", mknod("/tmp/attempts-null", S_IFCHR | 0600, makedev(1, 3)) == 0);
	unlink("/tmp/attempts-null");
	say("sethostname", sethostname("attempts", 8) == 0);
	say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL) == 0);
	say("init_module", syscall(SYS_init_module, "", 0, "") == 0);
	say("swapon", swapon("/bin/busybox", 0) == 0);
	say("acct", syscall(SYS_acct, "/tmp/attempts-acct") == 0);
	say("kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0) == 0);
	say("syslog", syscall(SYS_syslog, 5, NULL, 0) == 0);
#ifdef SYS_iopl
	say("iopl", syscall(SYS_iopl, 3) == 0);
#else
	say("iopl", 0);
#endif
	fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));
	say("bpf map", fd >= 0);
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	say("userfaultfd", fd >= 0);
	fd = (int)syscall(SYS_perf_event_open, NULL, 1, -1, -1, 0);
	say("perf_event_open", fd >= 0);
	fd = (int)syscall(SYS_open_by_handle_at, AT_FDCWD, "\0\0\0\0\0\0\0\0", O_RDONLY);
	say("open_by_handle_at", fd >= 0);
	say("new mount namespace", unshare(CLONE_NEWNS) == 0);
	say("new network", unshare(CLONE_NEWNET) == 0);
}

static void say_owner(const char *name, int keyring)
{
	char text[256] = "";
	long length = syscall(SYS_keyctl, KEYCTL_DESCRIBE, keyring, text, sizeof(text) - 1);
	unsigned int uid;

	/* type;uid;gid;permissions;description */
	if (length > 0 && sscanf(text, "%*[^;];%u", &uid) == 1)
		printf("%s: %u\n", name, uid);
	else
		printf("%s: none\n", name);
}

static void try_keyrings(void)
{
	say("keyring of root", syscall(SYS_keyctl, KEYCTL_GET_PERSISTENT, 0,
				       KEY_SPEC_PROCESS_KEYRING) >= 0);
	say_owner("owner of the session keyring", KEY_SPEC_SESSION_KEYRING);
	say_owner("owner of the user keyring", KEY_SPEC_USER_KEYRING);
}

static void write_map(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

static void become_root_of_a_namespace(void)
{
	char text[64];
	unsigned int uid = getuid(), gid = getgid();

	if (unshare(CLONE_NEWUSER) != 0)
		return;
	write_map("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1", uid);
	write_map("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %u 1", gid);
	write_map("/proc/self/gid_map", text);
	unshare(CLONE_NEWNS | CLONE_NEWCGROUP);
}

static void try_terminal(void)
{
	int other = 0;

	say("TIOCSTI", ioctl(0, TIOCSTI, "x") == 0);
	say("TIOCLINUX", ioctl(0, TIOCLINUX, "\3") == 0);
	say("TIOCSETD", ioctl(0, TIOCSETD, &other) == 0);
	say("TIOCCONS", ioctl(0, TIOCCONS) == 0);
	say("TIOCVHANGUP", syscall(SYS_vhangup) == 0);
	say("TIOCSCTTY by force", ioctl(0, TIOCSCTTY, 1) == 0);
	try_open("open /dev/tty", "/dev/tty", O_RDWR);
	try_open("open /dev/console", "/dev/console", O_RDWR);
	try_open("open /dev/ptmx", "/dev/ptmx", O_RDWR);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1 && strcmp(argv[1], "terminal") == 0) {
		try_terminal();
		return 0;
	}
	if (argc > 1)
		become_root_of_a_namespace();
	try_files();
	try_keyrings();
	try_cgroups();
	try_calls();
	try_identities();
	return 0;
}
