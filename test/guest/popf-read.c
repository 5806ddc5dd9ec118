// SPDX-License-Identifier: MIT
/*
 * POPF of zeros clears AC, which opens user pages to ring 0 where SMAP is on,
 * and IF.  Whatever touches memory next must work as in ring 3, where neither
 * means anything: a read has nothing that repairs it on the way, unlike a
 * write to a page that is copied on write.
 */
#include "guest.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define LOOPS	200
#define PAGE	4096

static sigjmp_buf back;
static int faults;
static char *area;

static void on_fault(int signo)
{
	siglongjmp(back, signo);
}

/* Pops zeros, then does "insns", with the red zone out of the way. */
#define AFTER_POPF(insns, operands...)					\
	__asm__ volatile("lea -128(%%rsp), %%rsp\n"			\
			 "push $0\n"					\
			 "popf\n"					\
			 insns "\n"					\
			 "lea 128(%%rsp), %%rsp"			\
			 : operands)

static void read_word(void)
{
	unsigned long *at = (unsigned long *)(area + 8), value;

	*at = 0x1234;
	AFTER_POPF("mov (%1), %0", "=&r"(value) : "r"(at) : "memory", "cc");
	check(value == 0x1234);
}

static void read_string_constant(void)
{
	static const char text[] = "constant";
	unsigned char byte;

	AFTER_POPF("movb (%1), %0", "=&q"(byte) : "r"(text) : "memory", "cc");
	check(byte == 'c');
}

static void read_absent(void)
{
	unsigned long value;

	check(!madvise(area, PAGE, MADV_DONTNEED));
	AFTER_POPF("mov (%1), %0", "=&r"(value) : "r"(area) : "memory", "cc");
	check(value == 0);
}

static void write_word(void)
{
	unsigned long *at = (unsigned long *)(area + 16);

	*at = 0;
	AFTER_POPF("movq $77, (%0)", : "r"(at) : "memory", "cc");
	check(*at == 77);
}

static void write_absent(void)
{
	check(!madvise(area, PAGE, MADV_DONTNEED));
	AFTER_POPF("movq $78, (%0)", : "r"(area) : "memory", "cc");
	check(*(unsigned long *)area == 78);
}

static void add_to_word(void)
{
	unsigned long *at = (unsigned long *)(area + 24);

	*at = 40;
	AFTER_POPF("lock addq $2, (%0)", : "r"(at) : "memory", "cc");
	check(*at == 42);
}

static void push_and_pop(void)
{
	unsigned long value;

	AFTER_POPF("push $55; pop %0", "=&r"(value) : : "memory", "cc");
	check(value == 55);
}

static void call_and_return(void)
{
	unsigned long value;

	AFTER_POPF("call 1f; jmp 2f; 1: mov $66, %0; ret; 2:",
		   "=&r"(value) : : "memory", "cc");
	check(value == 66);
}

/* The return address was there before, so that the first to fail is RET. */
static void just_return(void)
{
	unsigned long value = 0;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n"
			 "lea 1f(%%rip), %0; push %0; push $0; popf; ret\n"
			 "1: lea 128(%%rsp), %%rsp\n"
			 "mov $67, %0"
			 : "+r"(value) : : "memory", "cc");
	check(value == 67);
}

static void jump_through_memory(void)
{
	unsigned long *at = (unsigned long *)(area + 32), value;

	AFTER_POPF("lea 1f(%%rip), %0; mov %0, (%1); push $0; popf; jmp *(%1); 1:",
		   "=&r"(value) : "r"(at) : "memory", "cc");
	check(*at == value);
}

static void move_string(void)
{
	char *from = area + 64, *to = area + PAGE + 64;
	unsigned long count = 200;

	memset(from, 'm', count);
	memset(to, 0, count);
	AFTER_POPF("rep movsb", "+S"(from), "+D"(to), "+c"(count) : : "memory", "cc");
	check(!count && !memcmp(area + 64, area + PAGE + 64, 200));
}

/* One instruction, and the fault is in the midst of it. */
static void move_string_to_absent(void)
{
	char *from = area + PAGE - 100, *to = area + 3 * PAGE - 100;
	unsigned long count = 200;

	memset(from, 'n', count);
	check(!madvise(area + 2 * PAGE, 2 * PAGE, MADV_DONTNEED));
	AFTER_POPF("rep movsb", "+S"(from), "+D"(to), "+c"(count) : : "memory", "cc");
	check(!count && !memcmp(area + PAGE - 100, area + 3 * PAGE - 100, 200));
}

static void load_store_scan(void)
{
	char *at = area + 500, *to = area + 600;
	unsigned long value = 0, count = 8;

	memcpy(area + 500, "abcdefgh", 8);
	AFTER_POPF("lodsq; stosq", "+S"(at), "+D"(to), "+a"(value) : : "memory", "cc");
	check(!memcmp(area + 600, "abcdefgh", 8));
	at = area + 500;
	value = 'd';
	AFTER_POPF("repne scasb", "+D"(at), "+c"(count) : "a"(value) : "memory", "cc");
	check(at == area + 504 && count == 4);
}

static void vector(void)
{
	static const char from[16] __attribute__((aligned(16))) = "sixteen letters";
	char *to = area + 704;

	AFTER_POPF("movaps (%0), %%xmm3; movaps %%xmm3, (%1)",
		   : "r"(from), "r"(to) : "memory", "cc", "xmm3");
	check(!memcmp(from, to, 16));
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "read", read_word },
	{ "read a constant", read_string_constant },
	{ "read an absent page", read_absent },
	{ "write", write_word },
	{ "write an absent page", write_absent },
	{ "read and write", add_to_word },
	{ "push and pop", push_and_pop },
	{ "call and return", call_and_return },
	{ "return", just_return },
	{ "jump through memory", jump_through_memory },
	{ "move a string", move_string },
	{ "move a string to absent pages", move_string_to_absent },
	{ "load, store and scan a string", load_store_scan },
	{ "vector", vector },
};

int main(void)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	volatile unsigned int i, n;

	expect_ring();
	area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(area != MAP_FAILED);
	check(!sigaction(SIGSEGV, &action, NULL));
	check(!sigaction(SIGBUS, &action, NULL));
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		faults = 0;
		for (n = 0; n < LOOPS; n++) {
			if (sigsetjmp(back, 1))
				faults++;
			else
				cases[i].run();
		}
		printf("%s: %d faults\n", cases[i].name, faults);
	}
	printf("ok\n");
	return 0;
}
