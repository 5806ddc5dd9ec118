// SPDX-License-Identifier: MIT
/* POSIX threads: every primitive contended, TLS of each kind, cancellation. */
#include "guest.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#define THREADS	8
#define ROUNDS	2000

static __thread unsigned long tls_value = 0x5eed;
static __thread char tls_array[300];
static pthread_key_t key;
static int destroyed;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static long counter, turn, pair[2], waves[THREADS];
static int cleaned, main_ring;

static void destroy(void *value)
{
	(void)value;
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void *work(void *arg)
{
	long me = (long)arg, i, j;

	check(cpl() == main_ring);
	check(tls_value == 0x5eed);
	tls_value = me;
	memset(tls_array, me, sizeof(tls_array));
	check(!pthread_setspecific(key, (void *)(me + 1)));

	for (i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
		if (i % 64 == 0)
			sched_yield();
	}

	/* round robin by a condition variable */
	for (i = 0; i < 50; i++) {
		pthread_mutex_lock(&mutex);
		while (turn % THREADS != me)
			pthread_cond_wait(&cond, &mutex);
		turn++;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
	}

	/* waves: nobody is ahead of anybody beyond a barrier */
	for (i = 0; i < 50; i++) {
		__atomic_store_n(&waves[me], i + 1, __ATOMIC_SEQ_CST);
		pthread_barrier_wait(&barrier);
		for (j = 0; j < THREADS; j++)
			check(__atomic_load_n(&waves[j], __ATOMIC_SEQ_CST) ==
			      i + 1);
		pthread_barrier_wait(&barrier);
	}

	for (i = 0; i < 300; i++) {
		if (me < 2) {
			pthread_rwlock_wrlock(&rwlock);
			pair[0]++;
			sched_yield();
			pair[1]++;
			pthread_rwlock_unlock(&rwlock);
		} else {
			pthread_rwlock_rdlock(&rwlock);
			check(pair[0] == pair[1]);
			pthread_rwlock_unlock(&rwlock);
		}
	}

	check(tls_value == (unsigned long)me);
	for (i = 0; i < (long)sizeof(tls_array); i++)
		check(tls_array[i] == me);
	check(pthread_getspecific(key) == (void *)(me + 1));
	return (void *)(me * 3);
}

static void clean(void *arg)
{
	check(arg == &cleaned);
	check(cpl() == main_ring);
	__atomic_fetch_add(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static sem_t started;

static void *cancel_deferred(void *arg)
{
	int fds[2];
	char byte;

	check(!pipe(fds));
	pthread_cleanup_push(clean, &cleaned);
	sem_post(&started);
	check(read(fds[0], &byte, 1) == -2);	/* does not return */
	pthread_cleanup_pop(0);
	return arg;
}

static void *cancel_async(void *arg)
{
	volatile long spin = 0;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cleanup_push(clean, &cleaned);
	sem_post(&started);
	for (;;)
		spin++;
	pthread_cleanup_pop(0);
	return arg;
}

static void *cancel_disabled(void *arg)
{
	int i;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	sem_post(&started);
	for (i = 0; i < 100; i++)
		usleep(10);
	return arg;
}

static void *nothing(void *arg)
{
	return arg;
}

static void cancel(void *(*f)(void *), void *want)
{
	pthread_t thread;
	void *result;

	check(!pthread_create(&thread, NULL, f, NULL));
	check(!sem_wait(&started));
	check(!pthread_cancel(thread));
	check(!pthread_join(thread, &result));
	check(result == want);
}

int main(void)
{
	pthread_t threads[THREADS];
	void *result;
	long i;

	expect_ring();
	main_ring = cpl();
	check(!pthread_key_create(&key, destroy));
	check(!pthread_barrier_init(&barrier, NULL, THREADS));
	check(!sem_init(&started, 0, 0));
	for (i = 0; i < THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work, (void *)i));
	for (i = 0; i < THREADS; i++) {
		check(!pthread_join(threads[i], &result));
		check(result == (void *)(i * 3));
	}
	check(tls_value == 0x5eed);
	printf("mutex %ld, turns %ld, writes %ld, keys %d\n", counter, turn,
	       pair[0], destroyed);

	for (i = 0; i < 100; i++) {
		cancel(cancel_deferred, PTHREAD_CANCELED);
		cancel(cancel_async, PTHREAD_CANCELED);
	}
	cancel(cancel_disabled, NULL);
	printf("cancelled %d\n", cleaned);

	for (i = 0; i < 1000; i++) {
		check(!pthread_create(&threads[0], NULL, nothing, (void *)i));
		check(!pthread_join(threads[0], &result));
		check(result == (void *)i);
	}
	printf("created 1000\n");

	printf("ok\n");
	return 0;
}
