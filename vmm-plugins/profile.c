// SPDX-License-Identifier: GPL-2.0-only
/*
 * A QEMU plugin that counts the guest's instructions by call path, for the
 * kernel and all programs together.  Nothing in the guest takes part: no
 * sampling, no frame pointers, no symbols.  Addresses become names later.
 *
 * A call stores its return address; where it is stored says on which stack the
 * caller runs and how deep.  A return loads it from there.  So the addresses of
 * these accesses are enough to keep the frames of each stack:
 *
 *	user stack	of the task; frames at or below an access are gone,
 *			whether they returned or were jumped over (longjmp)
 *	kernel stack	THREAD_SIZE (16 KiB) aligned to its size: names the task.
 *			Code in user addresses runs with an empty one.
 *	other		interrupt and entry stacks, above the task's kernel stack
 *
 * The argument "switch" is the address of __switch_to(), which is jumped to on the
 * stack of the next task.
 *
 * Stacks are used again: at the addresses in "forget", where a task's life begins
 * and where its program is replaced, what its user stack had is gone.
 *
 * What an interrupt does is nobody's call: its frames begin a path of their own.
 * Under every function that happened to be interrupted there would be the whole
 * network otherwise.  The argument "interrupts" has the entries' addresses and
 * sizes, START+SIZE:START+SIZE..., in hex.
 *
 * An indirect call goes by way of a thunk that returns or jumps to the function
 * (arch/x86/lib/retpoline.S).  The argument "thunks" has their addresses and
 * sizes: what runs after one is what was called.
 *
 * The control socket takes lines: "reset" forgets the counts and answers "ok",
 * "dump" answers with lines and a last "end",
 * as does the end of the machine:
 *	node ID PARENT SITE CALLEE CALLS	a frame; 0 is nobody's
 *	count ID PC INSTRUCTIONS		of blocks at PC in this frame
 * Addresses of what ran before the kernel have bit 48 set.
 * The machine must be stopped meanwhile, and have a single thread for all its
 * processors (-accel tcg,thread=single).
 *
 * The declarations are those of version 1 of QEMU's plugin interface
 * (include/qemu/qemu-plugin.h), which Debian does not package.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS };
enum { QEMU_PLUGIN_MEM_W = 2, QEMU_PLUGIN_MEM_RW };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
		void (*cb)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *),
		int flags, int rw, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

#define THREAD_SIZE	(16 << 10)	/* arch/x86/include/asm/page_64_types.h */
#define USER_END	(1UL << 47)
#define UNPACKING	(1UL << 48)	/* no address has it: see unpacking */
#define MAX_FRAMES	4096
#define MAX_CPUS	64
#define MAX_RANGES	64
#define MAX_FORGETS	2

/*
 * A function that was called from SITE on the path that PARENT is.  If the path
 * has that call already, it goes on from there (same): recursion would have no
 * end of paths.
 */
struct node {
	struct node *next, *parent, *same;
	uint64_t site, callee, calls;
	uint32_t id;
	bool thunk;
};

struct counter {
	struct counter *next;
	struct node *node;
	uint64_t pc, instructions;
};

struct stack {
	uint64_t base;
	int n;
	struct {
		uint64_t address;
		struct node *node;
	} frames[MAX_FRAMES];
};

struct task {
	struct task *next;
	struct stack user, kernel;
};

/* The target is 0 if it is not in the instruction. */
struct site {
	uint64_t pc, target;
	bool interrupt;
};

struct ranges {
	int n;
	struct {
		uint64_t start, size;
	} range[MAX_RANGES];
};

/* A translated block, and where it was counted last. */
struct block {
	uint64_t pc, n;
	bool interrupt, forget, thunk;
	struct node *node;
	struct counter *counter;
};

struct cpu {
	struct task *task;
	struct stack other;
	struct node *node;
	bool switching;
	const struct site *calling;
	uint64_t address;
};

#define BUCKETS	(1 << 24)	/* untouched, they take no memory */
static struct node *nodes[BUCKETS], nobody;
static struct counter *counters[BUCKETS];
static struct task *tasks;
static struct cpu cpus[MAX_CPUS];
static uint32_t last_id;
static struct ranges interrupts, thunks;
static uint64_t switch_to, forgets[MAX_FORGETS];
/* Until the kernel runs at its own addresses, what unpacks it has those that are programs' later. */
static uint64_t unpacking = UNPACKING;
static int control;

static uint32_t bucket(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t h = (a * 0x9e3779b97f4a7c15 ^ b) * 0xbf58476d1ce4e5b9 ^ c;

	return (h * 0x94d049bb133111eb) >> 40;
}

static bool in(const struct ranges *ranges, uint64_t pc)
{
	int i;

	for (i = 0; i < ranges->n; i++)
		if (pc - ranges->range[i].start < ranges->range[i].size)
			return true;
	return false;
}

static struct node *find_node(struct node *parent, uint64_t site, uint64_t callee)
{
	struct node **at = &nodes[bucket((uintptr_t)parent, site, callee)], *node, *same;

	for (node = *at; node; node = node->next)
		if (node->parent == parent && node->site == site && node->callee == callee)
			return node->same;
	for (same = parent; same; same = same->parent)
		if (same->site == site && same->callee == callee)
			break;
	node = calloc(1, sizeof(*node));
	*node = (struct node) { *at, parent, same ? same : node, site, callee, 0, ++last_id, in(&thunks, callee) };
	*at = node;
	return node->same;
}

static struct counter *find_counter(struct node *node, uint64_t pc)
{
	struct counter **at = &counters[bucket((uintptr_t)node, pc, 0)], *counter;

	for (counter = *at; counter; counter = counter->next)
		if (counter->node == node && counter->pc == pc)
			return counter;
	counter = calloc(1, sizeof(*counter));
	*counter = (struct counter) { *at, node, pc, 0 };
	return *at = counter;
}

static struct task *find_task(uint64_t base)
{
	struct task *task;

	for (task = tasks; task; task = task->next)
		if (task->kernel.base == base)
			return task;
	task = calloc(1, sizeof(*task));
	task->kernel.base = base;
	task->next = tasks;
	return tasks = task;
}

static struct node *top(struct cpu *cpu)
{
	struct stack *stack = &cpu->other;

	if (!stack->n)
		stack = &cpu->task->kernel;
	if (!stack->n)
		stack = &cpu->task->user;
	return stack->n ? stack->frames[stack->n - 1].node : &nobody;
}

/* The stack of an access, without the frames that are gone by it.  What unpacks the kernel has no task. */
static struct stack *stack_at(struct cpu *cpu, uint64_t address)
{
	uint64_t base = address < USER_END ? 0 : address & -THREAD_SIZE;
	struct stack *stack;

	if (!cpu->task || (base && (cpu->switching || !cpu->task->kernel.base))) {
		cpu->task = find_task(base);
		cpu->switching = false;
	}
	if (!base) {
		stack = &cpu->task->user;
	} else if (base == cpu->task->kernel.base) {
		cpu->other.n = 0;
		stack = &cpu->task->kernel;
	} else {
		if (base != cpu->other.base)
			cpu->other.n = 0;
		cpu->other.base = base;
		stack = &cpu->other;
	}
	while (stack->n && stack->frames[stack->n - 1].address <= address)
		stack->n--;
	return stack;
}

static void called(unsigned int index, qemu_plugin_meminfo_t info, uint64_t address, void *site)
{
	struct cpu *cpu = &cpus[index];

	(void)info;
	cpu->calling = site;
	cpu->address = address;
}

static void returned(unsigned int index, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
	struct cpu *cpu = &cpus[index];

	(void)info;
	(void)data;
	stack_at(cpu, address);
	cpu->node = top(cpu);
}

static void push(struct cpu *cpu, struct stack *stack, uint64_t address, struct node *node)
{
	node->calls++;
	if (stack->n < MAX_FRAMES) {
		stack->frames[stack->n].address = address;
		stack->frames[stack->n++].node = node;
	}
	cpu->node = node;
}

/* The function that a thunk went on to takes the thunk's frame. */
static void leave_thunk(struct cpu *cpu, uint64_t callee)
{
	struct stack *stack = cpu->other.n ? &cpu->other : &cpu->task->kernel;
	struct node *thunk = cpu->node;
	uint64_t address;

	if (!stack->n || stack->frames[stack->n - 1].node != thunk)
		return;
	address = stack->frames[--stack->n].address;
	thunk->calls--;
	push(cpu, stack, address, find_node(thunk->parent == &nobody ? &nobody : top(cpu), thunk->site, callee));
}

static void executed(unsigned int index, void *data)
{
	struct cpu *cpu = &cpus[index];
	struct block *block = data;

	if (cpu->calling) {
		const struct site *site = cpu->calling;
		struct stack *stack = stack_at(cpu, cpu->address);
		uint64_t callee = site->target ? site->target : block->pc;

		cpu->calling = NULL;
		push(cpu, stack, cpu->address, find_node(site->interrupt ? &nobody : top(cpu), site->pc, callee));
	}
	if (block->pc < USER_END && cpu->task && (cpu->task->kernel.n || cpu->other.n)) {
		cpu->task->kernel.n = cpu->other.n = 0;
		cpu->node = top(cpu);
	}
	if (!cpu->node || block->interrupt)
		cpu->node = &nobody;
	if (cpu->node->thunk && !block->thunk && cpu->task)
		leave_thunk(cpu, block->pc);
	if (block->pc == switch_to)
		cpu->switching = true;
	if (block->forget && cpu->task)
		cpu->task->user.n = 0;
	if (block->node != cpu->node) {
		block->node = cpu->node;
		block->counter = find_counter(block->node, block->pc);
	}
	block->counter->instructions += block->n;
}

static void watch_call(struct qemu_plugin_insn *insn, const uint8_t *relative)
{
	struct site *site = calloc(1, sizeof(*site));
	int32_t offset;

	site->pc = qemu_plugin_insn_vaddr(insn) | unpacking;
	if (relative) {
		memcpy(&offset, relative, sizeof(offset));
		site->target = (qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn) + offset) | unpacking;
	}
	site->interrupt = in(&interrupts, site->pc);
	qemu_plugin_register_vcpu_mem_cb(insn, called, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, site);
}

/*
 * Legacy prefixes and REX; a near call or a return ends its block.  QEMU 7.2
 * tells those who watch reads (QEMU_PLUGIN_MEM_R) of no read.
 */
static void watch(struct qemu_plugin_insn *insn)
{
	const uint8_t *code = qemu_plugin_insn_data(insn), *end = code + qemu_plugin_insn_size(insn);

	while (code < end && (*code == 0x66 || *code == 0xf2 || *code == 0xf3 || *code == 0x2e ||
			      *code == 0x3e || (*code & 0xf0) == 0x40))
		code++;
	if (code == end)
		return;
	if (*code == 0xe8)
		watch_call(insn, code + 1);
	else if (*code == 0xff && code + 1 < end && (code[1] >> 3 & 7) == 2)
		watch_call(insn, NULL);
	else if (*code == 0xc3 || *code == 0xc2)
		qemu_plugin_register_vcpu_mem_cb(insn, returned, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *block = calloc(1, sizeof(*block));
	int i;

	(void)id;
	block->pc = qemu_plugin_tb_vaddr(tb);
	if (block->pc >= USER_END)
		unpacking = 0;
	block->pc |= unpacking;
	block->interrupt = in(&interrupts, block->pc);
	block->thunk = in(&thunks, block->pc);
	for (i = 0; i < MAX_FORGETS; i++)
		block->forget |= block->pc == forgets[i];
	block->n = qemu_plugin_tb_n_insns(tb);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, block);
	watch(qemu_plugin_tb_get_insn(tb, block->n - 1));
}

static void reset(void)
{
	int i;

	for (i = 0; i < BUCKETS; i++) {
		for (struct node *node = nodes[i]; node; node = node->next)
			node->calls = 0;
		for (struct counter *counter = counters[i]; counter; counter = counter->next)
			counter->instructions = 0;
	}
}

static void dump(FILE *out)
{
	int i;

	for (i = 0; i < BUCKETS; i++) {
		for (struct node *node = nodes[i]; node; node = node->next)
			if (node->same == node)
				fprintf(out, "node %u %u %lx %lx %lu\n", node->id, node->parent->id, node->site, node->callee, node->calls);
		for (struct counter *counter = counters[i]; counter; counter = counter->next)
			if (counter->instructions)
				fprintf(out, "count %u %lx %lu\n", counter->node->id, counter->pc, counter->instructions);
	}
	fprintf(out, "end\n");
}

static void *serve(void *unused)
{
	FILE *in = fdopen(control, "r"), *out = fdopen(dup(control), "w");
	char line[16];

	(void)unused;
	while (fgets(line, sizeof(line), in)) {
		if (!strcmp(line, "reset\n")) {
			reset();
			fprintf(out, "ok\n");
		} else if (!strcmp(line, "dump\n")) {
			dump(out);
		}
		fflush(out);
	}
	return NULL;
}

/* A machine that ends by itself is not asked any more. */
static void ended(qemu_plugin_id_t id, void *data)
{
	FILE *out = fdopen(control, "w");

	(void)id;
	(void)data;
	dump(out);
	fflush(out);
}

static void read_ranges(const char *from, struct ranges *to)
{
	char *at = (char *)from;

	while (*at && to->n < MAX_RANGES) {
		to->range[to->n].start = strtoul(at, &at, 16);
		at += *at == '+';
		to->range[to->n++].size = strtoul(at, &at, 16);
		at += *at == ':';
	}
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pthread_t thread;
	char *at;
	int i = 0;

	(void)info;
	if (argc != 5 || strncmp(argv[0], "socket=", 7) || strncmp(argv[1], "switch=", 7) ||
	    strncmp(argv[2], "interrupts=", 11) || strncmp(argv[3], "forget=", 7) || strncmp(argv[4], "thunks=", 7))
		return -1;
	switch_to = strtoul(argv[1] + 7, NULL, 16);
	read_ranges(argv[2] + 11, &interrupts);
	read_ranges(argv[4] + 7, &thunks);
	for (at = argv[3] + 7; *at && i < MAX_FORGETS; at += *at == ':')
		forgets[i++] = strtoul(at, &at, 16);
	strncpy(address.sun_path, argv[0] + 7, sizeof(address.sun_path) - 1);
	control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(control, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return pthread_create(&thread, NULL, serve, NULL);
}
