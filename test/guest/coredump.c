// SPDX-License-Identifier: MIT
/*
 * A program that crashes leaves a core file with its registers and memory.
 * Where core files go elsewhere (UKL_HOST), only the crash itself is checked.
 */
#include "guest.h"
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/user.h>

#define MAGIC	0x1badc0de12345678ul

static unsigned long *page;
extern char crash_here[];

static void crash(void)
{
	/* rbx, r12 and xmm are looked for in the notes */
	__asm__ volatile("mov %0, %%rbx; mov %1, %%r12; movq %%rbx, %%xmm7\n"
			 "xor %%ecx, %%ecx\n"
			 ".globl crash_here\n"
			 "crash_here: movl $1, (%%rcx)"
			 : : "i"(MAGIC), "r"(page) : "rbx", "rcx", "r12");
}

static void *load(const char *name, size_t *size)
{
	struct stat st;
	void *core;
	int fd = open(name, O_RDONLY);

	if (fd < 0)
		return NULL;
	check(!fstat(fd, &st) && st.st_size > 0);
	core = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	check(core != MAP_FAILED);
	*size = st.st_size;
	close(fd);
	return core;
}

static void verify(char *core, size_t size, pid_t pid)
{
	Elf64_Ehdr *ehdr = (void *)core;
	Elf64_Phdr *phdr = (void *)(core + ehdr->e_phoff);
	bool status = false, fpu = false, memory = false, text = false;
	int i;

	check(!memcmp(ehdr->e_ident, ELFMAG, 4) && ehdr->e_type == ET_CORE);
	for (i = 0; i < ehdr->e_phnum; i++) {
		char *at = core + phdr[i].p_offset, *end = at + phdr[i].p_filesz;
		unsigned long start = phdr[i].p_vaddr;

		check(phdr[i].p_offset + phdr[i].p_filesz <= size);
		while (phdr[i].p_type == PT_NOTE && at < end) {
			Elf64_Nhdr *note = (void *)at;
			char *desc = at + sizeof(*note) +
				     ((note->n_namesz + 3) & -4);

			if (note->n_type == NT_PRSTATUS) {
				struct elf_prstatus *pr = (void *)desc;
				struct user_regs_struct *regs =
					(void *)pr->pr_reg;

				check(pr->pr_pid == pid);
				check(pr->pr_cursig == SIGSEGV);
				check(regs->rip == (unsigned long)crash_here);
				check(regs->rbx == MAGIC);
				check(regs->r12 == (unsigned long)page);
				check(regs->cs == 0x33 && regs->ss == 0x2b);
				status = true;
			} else if (note->n_type == NT_FPREGSET) {
				struct user_fpregs_struct *fp = (void *)desc;
				unsigned long low;

				memcpy(&low, &fp->xmm_space[28], 8);
				check(low == MAGIC);
				fpu = true;
			}
			at = desc + ((note->n_descsz + 3) & -4);
		}
		if (phdr[i].p_type != PT_LOAD)
			continue;
		if ((unsigned long)page >= start &&
		    (unsigned long)page < start + phdr[i].p_filesz) {
			at += (unsigned long)page - start;
			check(((unsigned long *)at)[0] == MAGIC);
			check(((unsigned long *)at)[511] == ~MAGIC);
			memory = true;
		}
		if ((unsigned long)crash_here >= start &&
		    (unsigned long)crash_here < start + phdr[i].p_memsz) {
			check(phdr[i].p_flags & PF_X);
			text = true;
		}
	}
	check(status && fpu && memory && text);
}

int main(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	char dir[] = "/tmp/coredump-XXXXXX", name[32];
	bool host = getenv("UKL_HOST");
	int status, i;
	size_t size;
	pid_t child;
	void *core;

	expect_ring();
	check(mkdtemp(dir) && !chdir(dir));
	/* executable, so that it is mapped like code */
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);
	page[0] = MAGIC;
	page[511] = ~MAGIC;
	if (host)
		limit.rlim_cur = 0;
	check(!setrlimit(RLIMIT_CORE, &limit));
	for (i = 0; i < 3; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			crash();
			_exit(0);
		}
		check(waitpid(child, &status, 0) == child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
		if (host)
			continue;
		check(WCOREDUMP(status));
		snprintf(name, sizeof(name), "core");
		core = load(name, &size);
		if (!core) {
			snprintf(name, sizeof(name), "core.%d", child);
			core = load(name, &size);
		}
		check(core);
		verify(core, size, child);
		check(!munmap(core, size) && !unlink(name));
	}
	check(!chdir("/") && !rmdir(dir));
	printf("core\n");

	printf("ok\n");
	return 0;
}
