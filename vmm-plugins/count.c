// SPDX-License-Identifier: GPL-2.0-only
/*
 * A QEMU plugin that counts: the guest's instructions, in user addresses and in
 * all, and how often it does what is dear on a machine.  Nothing is called for
 * it, the counting is part of the translated code: a guest is hardly slower.
 *
 * The argument "at" has names and addresses in hex, NAME:ADDRESS+NAME:ADDRESS...:
 * what is executed there is counted under that name, and "NAME.at" is how many
 * instructions of all there were when it was executed last.  Some instructions
 * are counted as well: "halt", "syscall", "iret", "sysret" and "cr3".
 *
 * The control socket takes the line "read" and answers with lines "NAME COUNT"
 * and a last "end".  Counts begin with the machine and never go back.
 *
 * The declarations are those of version 1 of QEMU's plugin interface
 * (include/qemu/qemu-plugin.h), which Debian does not package.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb,
		enum qemu_plugin_op op, void *to, uint64_t add);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn,
		enum qemu_plugin_op op, void *to, uint64_t add);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int cpu, void *data), enum qemu_plugin_cb_flags flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

#define USER_END	(1UL << 47)
#define MAX_PLACES	16

/* SDM volume 2, opcodes; of CR3 with any register. */
static struct {
	const char *name;
	uint8_t size, bytes[3], last_mask;
	uint64_t count;
} kinds[] = {
	{ "halt", 1, { 0xf4 }, 0xff, 0 },
	{ "syscall", 2, { 0x0f, 0x05 }, 0xff, 0 },
	{ "iret", 2, { 0x48, 0xcf }, 0xff, 0 },
	{ "sysret", 3, { 0x48, 0x0f, 0x07 }, 0xff, 0 },
	{ "cr3", 3, { 0x0f, 0x22, 0xd8 }, 0xf8, 0 },
};

static struct {
	char name[32];
	uint64_t address, count, at;
} places[MAX_PLACES];
static unsigned int place_count;
static uint64_t all, user;
static int control;

static void add(struct qemu_plugin_insn *insn, uint64_t *to)
{
	qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, to, 1);
}

/* A block of instructions is counted when it begins. */
static void note(unsigned int cpu, void *at)
{
	(void)cpu;
	*(uint64_t *)at = all;
}

static void watch(struct qemu_plugin_insn *insn)
{
	const uint8_t *code = qemu_plugin_insn_data(insn);
	size_t i, size = qemu_plugin_insn_size(insn);

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		uint8_t last = kinds[i].size - 1;

		if (size == kinds[i].size && !memcmp(code, kinds[i].bytes, last) &&
		    (code[last] & kinds[i].last_mask) == kinds[i].bytes[last])
			add(insn, &kinds[i].count);
	}
	for (i = 0; i < place_count; i++)
		if (qemu_plugin_insn_vaddr(insn) == places[i].address) {
			add(insn, &places[i].count);
			qemu_plugin_register_vcpu_insn_exec_cb(insn, note, QEMU_PLUGIN_CB_NO_REGS, &places[i].at);
		}
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &all, n);
	if (qemu_plugin_tb_vaddr(tb) < USER_END)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &user, n);
	for (i = 0; i < n; i++)
		watch(qemu_plugin_tb_get_insn(tb, i));
}

/* A count that changes meanwhile is read before or after: it is one word. */
static void answer(FILE *out)
{
	size_t i;

	fprintf(out, "instructions %" PRIu64 "\nuser %" PRIu64 "\n", all, user);
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		fprintf(out, "%s %" PRIu64 "\n", kinds[i].name, kinds[i].count);
	for (i = 0; i < place_count; i++)
		fprintf(out, "%s %" PRIu64 "\n%s.at %" PRIu64 "\n", places[i].name, places[i].count, places[i].name, places[i].at);
	fputs("end\n", out);
	fflush(out);
}

static void *serve(void *unused)
{
	FILE *in = fdopen(control, "r"), *out = fdopen(dup(control), "w");
	char line[16];

	(void)unused;
	while (in && out && fgets(line, sizeof(line), in))
		if (!strcmp(line, "read\n"))
			answer(out);
	return NULL;
}

static int read_places(char *from)
{
	char *one;

	if (!*from)
		return 0;
	for (; (one = strsep(&from, "+")) != NULL; place_count++)
		if (place_count == MAX_PLACES ||
		    sscanf(one, "%31[^:]:%" SCNx64, places[place_count].name, &places[place_count].address) != 2)
			return -1;
	return 0;
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	pthread_t thread;

	(void)info;
	if (argc != 2 || strncmp(argv[0], "socket=", 7) || strncmp(argv[1], "at=", 3) ||
	    strlen(argv[0] + 7) >= sizeof(to.sun_path) || read_places(argv[1] + 3)) {
		fprintf(stderr, "count: socket=PATH,at=NAME:ADDRESS+...\n");
		return -1;
	}
	strcpy(to.sun_path, argv[0] + 7);
	control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control < 0 || connect(control, (struct sockaddr *)&to, sizeof(to))) {
		perror("count");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return pthread_create(&thread, NULL, serve, NULL) ? -1 : 0;
}
