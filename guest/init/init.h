/* SPDX-License-Identifier: GPL-2.0-only */
/* The parts of the guest's PID 1; main.c says what it is for. */
#ifndef INIT_H
#define INIT_H

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* protocol.c: what the host and init say to each other. */

#define MAX_WORDS	4096
#define MAX_MOUNTS	32
#define MAX_DNS		3	/* MAXNS of <resolv.h>: the C library reads no more */
#define MAX_LINE	256	/* of the host's, with its end */

enum mount_kind {
	MOUNT_DISK,		/* one of the host's, by its serial number */
	MOUNT_VOLUME,		/* a directory of the host's, by its tag */
	MOUNT_DATA,		/* a disk of the machine's own, by label, UUID or device */
	MOUNT_REMOTE		/* of another machine, or of the hypervisor's */
};

struct mount_point {
	enum mount_kind kind;
	char *source;
	char *path;
	char *make;		/* the type of a file system that is to be made, or nothing */
	char *type, *options;	/* of what is remote, as mount(2) takes them */
};

struct network {
	const char *interface, *address, *gateway, *dns[MAX_DNS];
	int ndns;
	bool dhcp;
};

struct spec {
	const char *file, *cwd, *hostname;
	char *args[MAX_WORDS], *envs[MAX_WORDS];
	int nargs, nenvs;
	bool clock;
	long watchdog;		/* seconds, 0 for none */
	struct mount_point mounts[MAX_MOUNTS];
	int nmounts;
	struct network network;
};

enum message_type {
	MESSAGE_UNKNOWN, MESSAGE_SIGNAL, MESSAGE_KMSG, MESSAGE_PROC, MESSAGE_TIME
};

struct message {
	enum message_type type;
	long number;		/* the signal, or the time in nanoseconds since 1970 */
	const char *name;	/* of a file in /proc/PID; good until the next message */
};

extern int control;		/* the channel's file, -1 without one */

bool receive_spec(char *words, size_t size, size_t *length);
bool parse_spec(char *words, size_t length, struct spec *spec);
bool decode(char c, struct message *message);
void tell_start(void);
void tell_exit(int status);
void tell_signal(int number);
void tell_failure(const char *what, int error);
void tell_kmsg(const char *text);
void tell_clock(void);
void tell_line(const char *text);
void tell_end(void);

/* report.c: what init could not do, the kernel's log, and the end. */

long now_ms(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report(const char *what);
void fail(const char *what) __attribute__((noreturn));
void finish(void) __attribute__((noreturn));
void tell_kernel_log(void);

/* transport.c: the channels. */

enum channel { CONTROL, STDIN, STDOUT, STDERR };

void choose_transport(void);
bool have_host(void);
int open_output(enum channel channel);
int open_input(enum channel channel);

/* setup.c: the machine, but for its network and its disks. */

bool try_mount(const char *type, const char *source, const char *path, const char *options);
void mount_on(const char *type, const char *source, const char *path, const char *options);
void mount_devices(void);
void watch_devices(void);
bool await_device(int ms);
void mount_kernel_files(void);
void set_clock(void);
void load_modules(void);
void confine_helpers(void);
void keep_quiet(void);

/* mounts.c: disks, and directories of the host. */

void mount_all(const struct spec *spec);
void mount_remotes(const struct spec *spec);
void unmount_all(void);

/* data.c: file systems of the machine's own disks. */

void mount_data(const char *source, const char *path, const char *make);
bool find_seed(char *device, size_t size);

/* watchdog.c: restarts a machine that has hung. */

void arm_watchdog(int seconds);
int watchdog_wait_ms(void);
void feed_watchdog(void);
void disarm_watchdog(void);

/* metadata.c: what a cloud says of the machine. */

void read_metadata(struct spec *spec);

/* network.c: interfaces, addresses, name servers. */

void set_up_network(const struct network *network);
void override_network(struct network *network);
void announce(const struct spec *spec);
void bring_up(const char *interface);
bool set_address(const char *interface, struct in_addr address, struct in_addr mask);
bool add_gateway(const char *interface, struct in_addr gateway);
void write_resolv_conf(const char * const *dns, int count);

/* dhcp.c: an address that the network gives. */

void acquire_lease(const char *interface);
int lease_socket(void);
int lease_wait_ms(void);
void keep_lease(void);

/* program.c: from its fork to its end. */

extern pid_t program;

void start_program(const struct spec *spec);
void signal_program(int number);
void tell_about_program(const char *name);

/* relay.c: the program's standard streams. */

enum { RELAY_STDIN, RELAY_STDOUT, RELAY_STDERR, NRELAYS };

void start_relay(int number, int from, int to);
void end_relay(int number);
bool relaying(int number);
void fill_relay_polls(struct pollfd fds[NRELAYS]);
void step_relays(const struct pollfd fds[NRELAYS]);

#endif
