// SPDX-License-Identifier: MIT
/* A robust mutex shared by processes survives owners which die with it. */
#include "guest.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

struct shared {
	pthread_mutex_t mutex;
	long deaths, counter;
};

static struct shared *s;

static void *die_holding(void *arg)
{
	check(!pthread_mutex_lock(&s->mutex));
	return arg;
}

int main(void)
{
	pthread_mutexattr_t attr;
	pthread_t thread;
	pid_t children[4], child;
	int i, j, ret, status;

	expect_ring();
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(s != MAP_FAILED);
	check(!pthread_mutexattr_init(&attr));
	check(!pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	check(!pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	check(!pthread_mutex_init(&s->mutex, &attr));

	for (i = 0; i < 100; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			check(!pthread_mutex_lock(&s->mutex));
			if (i % 3 == 0)
				_exit(0);
			if (i % 3 == 1)
				kill(getpid(), SIGKILL);
			__builtin_trap();
		}
		check(waitpid(child, &status, 0) == child);
		ret = pthread_mutex_lock(&s->mutex);
		check(ret == EOWNERDEAD);
		check(!pthread_mutex_consistent(&s->mutex));
		s->deaths++;
		check(!pthread_mutex_unlock(&s->mutex));
		check(!pthread_mutex_lock(&s->mutex));
		check(!pthread_mutex_unlock(&s->mutex));
	}
	printf("processes %ld\n", s->deaths);

	for (i = 0; i < 100; i++) {
		check(!pthread_create(&thread, NULL, die_holding, NULL));
		check(!pthread_join(thread, NULL));
		check(pthread_mutex_lock(&s->mutex) == EOWNERDEAD);
		check(!pthread_mutex_consistent(&s->mutex));
		check(!pthread_mutex_unlock(&s->mutex));
	}
	printf("threads\n");

	/* all wait for it while owners die, and nobody waits forever */
	s->deaths = 0;
	for (i = 0; i < 4; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i])
			continue;
		for (j = 0; j < 100; j++) {
			child = fork();
			check(child >= 0);
			if (child == 0) {
				ret = pthread_mutex_lock(&s->mutex);
				check(!ret || ret == EOWNERDEAD);
				if (ret) {
					s->deaths++;
					pthread_mutex_consistent(&s->mutex);
				}
				s->counter++;
				if (j % 2)
					kill(getpid(), SIGKILL);
				check(!pthread_mutex_unlock(&s->mutex));
				_exit(0);
			}
			check(waitpid(child, NULL, 0) == child);
		}
		_exit(0);
	}
	for (i = 0; i < 4; i++)
		join_child(children[i]);
	if (pthread_mutex_lock(&s->mutex) == EOWNERDEAD) {
		s->deaths++;
		check(!pthread_mutex_consistent(&s->mutex));
	}
	printf("contended %ld, deaths %ld\n", s->counter, s->deaths);
	check(!pthread_mutex_unlock(&s->mutex));

	/* given up: of no use any more */
	check(!pthread_create(&thread, NULL, die_holding, NULL));
	check(!pthread_join(thread, NULL));
	check(pthread_mutex_lock(&s->mutex) == EOWNERDEAD);
	check(!pthread_mutex_unlock(&s->mutex));
	check(pthread_mutex_lock(&s->mutex) == ENOTRECOVERABLE);
	printf("not recoverable\n");

	printf("ok\n");
	return 0;
}
