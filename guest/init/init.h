/* SPDX-License-Identifier: GPL-2.0-only */
/* The parts of the guest's PID 1; main.c says what it is for. */
#ifndef INIT_H
#define INIT_H

#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* protocol.c: what the host and init say to each other. */

#define MAX_WORDS	4096
#define MAX_ALIASES	256
#define MAX_MOUNTS	32
#define MAX_GROUPS	64
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

/* Whom the program runs as. */
struct user {
	long uid, gid, groups[MAX_GROUPS];
	int ngroups;
};

#define MAX_CARDS	8
#define MAX_ADDRESSES	8	/* of a card */
#define MAX_ROUTES	16	/* of a card */
#define MAX_NTP		4

/* A network card, as it is to be.  Texts are as their author wrote them. */
struct card_config {
	const char *name;		/* with a MAC: what the card of that is to be called */
	const char *mac;		/* in lower case, as Linux writes it */
	bool dhcp;			/* IPv4 by DHCP, and IPv6 as routers say */
	bool ipv6;			/* the start waits for what routers say */
	bool no_routers;		/* they are not listened to */
	bool optional;			/* the start waits for nothing of it */
	const char *addresses[MAX_ADDRESSES];	/* ADDRESS/BITS */
	int naddresses;
	struct {
		const char *to;		/* ADDRESS/BITS, or NULL for everywhere */
		const char *via;
		long metric;
	} routes[MAX_ROUTES];
	int nroutes;
	long mtu;			/* 0 for its own */
};

struct network {
	struct card_config cards[MAX_CARDS];
	int ncards;
	const char *dns[MAX_DNS], *ntp[MAX_NTP];
	int ndns, nntp;
	char search[256];
};

struct spec {
	const char *file, *cwd, *hostname;
	char *aliases[MAX_ALIASES];
	int naliases;
	char *args[MAX_WORDS], *envs[MAX_WORDS];
	int nargs, nenvs;
	bool clock;
	long terminal;		/* its rows and columns, see ROWS; 0 without one */
	long watchdog;		/* seconds, 0 for none */
	const char *seed;	/* for random numbers, in hex */
	long time;		/* nanoseconds since 1970, 0 if it is not said */
	bool has_user;		/* root without it */
	bool ring0;		/* the user's program is for ring 0 */
	struct user user;
	struct mount_point mounts[MAX_MOUNTS];
	int nmounts;
	int nfixed;		/* of the arguments: what always comes first */
	struct network network;
};

enum message_type {
	MESSAGE_UNKNOWN, MESSAGE_SIGNAL, MESSAGE_KMSG, MESSAGE_PROC, MESSAGE_TIME, MESSAGE_EXEC,
	MESSAGE_SAVE, MESSAGE_GO, MESSAGE_RESUME, MESSAGE_WINDOW
};

struct message {
	enum message_type type;
	long number;		/* the signal, the time in nanoseconds since 1970, a length, a port, or a window */
	const char *name;	/* of a file in /proc/PID; good until the next message */
};

extern int control;		/* the channel's file, -1 without one */

bool receive_spec(char *words, size_t size, size_t *length);
bool parse_spec(char *words, size_t length, struct spec *spec);
bool decode(char c, struct message *message);
void set_variable(struct spec *spec, char *text);
void tell_start(void);
void tell_exit(int status);
void tell_signal(int number);
void tell_failure(const char *what, int error);
void tell_kmsg(const char *text);
void tell_clock(void);
void tell_timed(void);
void tell_line(const char *text);
void tell_end(void);
void tell_ready(void);
void tell_held(void);

/* service.c: what else init waits for. */

#define MAX_SERVICES	32
#define NEVER		LONG_MAX

struct service {
	int fd;			/* -1 without one */
	long due;		/* when to step even if nothing comes, by now_ms() */
	void (*step)(struct service *service);
	struct service *next;
};

void add_service(struct service *service);
int fill_service_polls(struct pollfd fds[MAX_SERVICES]);
int service_wait_ms(void);
void step_services(const struct pollfd *fds, int count);
void await_services(long until);

/* report.c: what init could not do, the kernel's log, and the end. */

long now_ms(void);
uint32_t random_number(void);
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
int open_session_port(long id);
void tell_lost_session(long id, bool opened);

/* setup.c: the machine, but for its network and its disks. */

bool try_mount(const char *type, const char *source, const char *path, const char *options);
void mount_on(const char *type, const char *source, const char *path, const char *options);
void mount_devices(void);
void watch_devices(void);
bool await_device(int ms);
void mount_kernel_files(void);
void take_time(long time);
void set_clock(void);
void load_modules(void);
void confine_helpers(void);
void keep_quiet(void);

/* root.c: memory above a root file system that cannot be written. */

void make_root_writable(void);

/* mounts.c: disks, and directories of the host. */

void mount_all(const struct spec *spec);
void mount_remotes(const struct spec *spec);
bool unmount_remotes(void);
void unmount_all(void);

/* data.c: file systems of the machine's own disks. */

void mount_data(const char *source, const char *path, const char *make);
bool find_seed(char *device, size_t size);

/* watchdog.c: restarts a machine that has hung. */

void arm_watchdog(int seconds);
void disarm_watchdog(void);

/* update.c: another image in place of this one. */

void try_update(void);
void keep_stage(void);
void forbid_kernels(void);
void begin_trial(void);
void restart(void);
int update_command(int argc, char **argv);

/* names.c: /etc/hosts, and /etc/resolv.conf (network.h). */

void write_aliases(const struct spec *spec);

/* metadata.c: what a cloud says of the machine. */

void read_seed(struct spec *spec);
void read_metadata(struct spec *spec);

/* netconfig.c: cloud-init's description of a network. */

bool parse_network_config(char *text, struct network *network, char *problem, size_t size);

/* network.c: interfaces, addresses, name servers; network.h has its parts. */

void set_up_network(const struct network *network);
void renew_network(const struct network *network);
void override_network(struct network *network);
void announce(const struct spec *spec);

/* terminal.c: pseudo-terminals. */

/* A terminal's size in one number. */
#define ROWS(window)	((int)((window) >> 16 & 0xffff))
#define COLUMNS(window)	((int)((window) & 0xffff))

bool open_terminal(int *ours, int *theirs);
void set_window(int terminal, int rows, int columns);

/* program.c: from its fork to its end. */

extern pid_t program;

void start_program(const struct spec *spec);
bool become_user(const struct user *user, bool ring0);
void resize_program(long window);
void signal_program(int number);
void end_program(void);
void tell_about_program(const char *name);

/* resume.c: a guest that is saved, and goes on as another one. */

void offer_snapshots(void);
void let_go(void);
void be_saved(void);
/* session.c: programs beside it. */

void start_session(const struct spec *base, long id);
void end_of_session(pid_t pid, int status);

/* tools.c: what /.ukl/init is when it is not PID 1. */

int run_tool(int argc, char **argv);

/* archive.c: files, to and from a tar archive. */

int write_archive(const char *path);
int read_archive(const char *directory, bool keep);

/* relay.c: the program's standard streams. */

enum { RELAY_STDIN, RELAY_STDOUT, RELAY_STDERR, NRELAYS };

void start_relay(int number, int from, int to);
void end_relay(int number);
bool relaying(int number);
void fill_relay_polls(struct pollfd fds[NRELAYS]);
void step_relays(const struct pollfd fds[NRELAYS]);

#endif
