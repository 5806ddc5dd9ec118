// SPDX-License-Identifier: MIT
/*
 * Asynchronous input and output by bare system calls: the old interface and
 * io_uring, whose kernel threads work on the program's memory.  Where the
 * kernel lacks one of them, the line is printed all the same.
 */
#include "guest.h"
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define BLOCK	4096
#define BLOCKS	64

static char path[] = "/tmp/iouring-aio-XXXXXX";

static void test_aio(int fd, char *memory)
{
	struct iocb iocbs[BLOCKS], *list[BLOCKS];
	struct io_event events[BLOCKS];
	aio_context_t context = 0;
	int i, n, round;

	if (syscall(SYS_io_setup, BLOCKS, &context)) {
		check(errno == ENOSYS);
		return;
	}
	for (round = 0; round < 20; round++) {
		for (i = 0; i < BLOCKS; i++) {
			if (round % 2 == 0)
				memset(memory + i * BLOCK, i + round, BLOCK);
			else
				memset(memory + i * BLOCK, 0xff, BLOCK);
			memset(&iocbs[i], 0, sizeof(iocbs[i]));
			iocbs[i].aio_fildes = fd;
			iocbs[i].aio_lio_opcode = round % 2 ? IOCB_CMD_PREAD :
							      IOCB_CMD_PWRITE;
			iocbs[i].aio_buf = (unsigned long)memory + i * BLOCK;
			iocbs[i].aio_nbytes = BLOCK;
			iocbs[i].aio_offset = i * BLOCK;
			iocbs[i].aio_data = i;
			list[i] = &iocbs[i];
		}
		check(syscall(SYS_io_submit, context, BLOCKS, list) == BLOCKS);
		for (n = 0; n < BLOCKS; n += i) {
			i = syscall(SYS_io_getevents, context, 1, BLOCKS,
				    events + n, NULL);
			check(i > 0);
		}
		for (i = 0; i < BLOCKS; i++)
			check(events[i].res == BLOCK);
		for (i = 0; i < BLOCKS * BLOCK; i++)
			check(memory[i] == (char)(i / BLOCK + round / 2 * 2));
	}
	check(!syscall(SYS_io_destroy, context));
}

static unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;

static void submit(int ring, int op, int fd, void *buf, unsigned len,
		   unsigned long offset, unsigned flags, unsigned long data)
{
	unsigned tail = *sq_tail, index = tail & *sq_mask;

	memset(&sqes[index], 0, sizeof(sqes[index]));
	sqes[index].opcode = op;
	sqes[index].flags = flags;
	sqes[index].fd = fd;
	sqes[index].addr = (unsigned long)buf;
	sqes[index].len = len;
	sqes[index].off = offset;
	sqes[index].user_data = data;
	sq_array[index] = index;
	__atomic_store_n(sq_tail, tail + 1, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1);
}

static int complete(int ring, unsigned long *data)
{
	unsigned head = *cq_head;
	int res;

	while (head == __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE))
		check(syscall(SYS_io_uring_enter, ring, 0, 1,
			      IORING_ENTER_GETEVENTS, NULL, 0) >= 0 ||
		      errno == EINTR);
	*data = cqes[head & *cq_mask].user_data;
	res = cqes[head & *cq_mask].res;
	__atomic_store_n(cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

static void test_uring(int fd, char *memory)
{
	struct io_uring_params params = { 0 };
	int ring, fds[2], i, round, res, j;
	unsigned long data;
	char *sq, *cq, *page;
	pid_t child;

	ring = syscall(SYS_io_uring_setup, BLOCKS, &params);
	if (ring < 0) {
		check(errno == ENOSYS || errno == EPERM);
		return;
	}
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4,
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes +
		  params.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		  IORING_OFF_CQ_RING);
	sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe),
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		    IORING_OFF_SQES);
	check(sq != MAP_FAILED && cq != MAP_FAILED && sqes != MAP_FAILED);
	sq_tail = (unsigned *)(sq + params.sq_off.tail);
	sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
	sq_array = (unsigned *)(sq + params.sq_off.array);
	cq_head = (unsigned *)(cq + params.cq_off.head);
	cq_tail = (unsigned *)(cq + params.cq_off.tail);
	cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
	cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);

	/* half of it by the kernel's worker threads */
	for (round = 0; round < 10; round++) {
		for (i = 0; i < BLOCKS; i++) {
			memset(memory + i * BLOCK,
			       round % 2 ? 0xff : i + round, BLOCK);
			submit(ring, round % 2 ? IORING_OP_READ :
						 IORING_OP_WRITE,
			       fd, memory + i * BLOCK, BLOCK, i * BLOCK,
			       i % 2 ? IOSQE_ASYNC : 0, i);
		}
		for (i = 0; i < BLOCKS; i++) {
			res = complete(ring, &data);
			check(res == BLOCK);
		}
		for (i = 0; i < BLOCKS * BLOCK; i++)
			check(memory[i] == (char)(i / BLOCK + round / 2 * 2));
	}

	/* a worker reads from a pipe what a child writes, later */
	for (i = 0; i < 20; i++) {
		char word[4] = "";

		check(!pipe(fds));
		submit(ring, IORING_OP_READ, fds[0], word, 4, -1, IOSQE_ASYNC,
		       77);
		child = fork();
		check(child >= 0);
		if (child == 0) {
			expect_ring();
			usleep(1000);
			check(write(fds[1], "word", 4) == 4);
			_exit(0);
		}
		check(complete(ring, &data) == 4 && data == 77);
		check(!memcmp(word, "word", 4));
		join_child(child);
		close(fds[0]);
		close(fds[1]);
	}

	/* bad pointers are told of, by workers as well */
	for (j = 0; j < 2; j++) {
		check(!pipe(fds));
		check(write(fds[1], "word", 4) == 4);
		submit(ring, IORING_OP_READ, fds[0], (void *)0xffffffff81000000,
		       4, -1, j ? IOSQE_ASYNC : 0, 5);
		check(complete(ring, &data) == -EFAULT);
		page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		submit(ring, IORING_OP_READ, fds[0], page, 4, -1,
		       j ? IOSQE_ASYNC : 0, 6);
		check(complete(ring, &data) == -EFAULT);
		close(fds[0]);
		close(fds[1]);
	}
	close(ring);
}

int main(void)
{
	char *memory;
	int fd;

	expect_ring();
	memory = mmap(NULL, BLOCK * BLOCKS, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(memory != MAP_FAILED);
	fd = mkstemp(path);
	check(fd >= 0 && !unlink(path));
	test_aio(fd, memory);
	printf("aio\n");
	test_uring(fd, memory);
	printf("io_uring\n");
	/* in executable memory too */
	check(!mprotect(memory, BLOCK * BLOCKS,
			PROT_READ | PROT_WRITE | PROT_EXEC));
	test_aio(fd, memory);
	test_uring(fd, memory);
	printf("executable\n");

	printf("ok\n");
	return 0;
}
