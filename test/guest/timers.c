// SPDX-License-Identifier: MIT
/*
 * Timers of every kind: none early, none lost.  How late they are is nobody's
 * promise here.
 */
#include "guest.h"
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

static volatile sig_atomic_t alarms, order[4], norder, overruns;

static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
}

static void on_timer(int signo, siginfo_t *info, void *context)
{
	(void)signo; (void)context;
	check(info->si_code == SI_TIMER);
	overruns += info->si_overrun;
	if (norder < 4)
		order[norder] = info->si_value.sival_int;
	norder++;
}

static long long now(clockid_t clock)
{
	struct timespec ts;

	check(!clock_gettime(clock, &ts));
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static timer_t start_timer(int value, long nsec, long interval)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
				  .sigev_signo = SIGRTMIN,
				  .sigev_value.sival_int = value };
	struct itimerspec spec = { { 0, interval }, { 0, nsec } };
	timer_t timer;

	check(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	check(!timer_settime(timer, 0, &spec, NULL));
	return timer;
}

static void thread_timer(union sigval value)
{
	check(cpl() == (getenv("UKL_RING") ? atoi(getenv("UKL_RING")) : 3));
	__atomic_fetch_add((int *)value.sival_ptr, 1, __ATOMIC_SEQ_CST);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_timer,
				    .sa_flags = SA_SIGINFO };
	struct itimerval val = { { 0, 1000 }, { 0, 1000 } }, off = { 0 };
	struct itimerspec spec = { { 0, 1000000 }, { 0, 1000000 } };
	struct timespec ts, left;
	struct sigevent event = { 0 };
	struct pollfd pfd;
	long long before, after;
	timer_t timer[3];
	uint64_t count, total;
	int i, fd, ticks = 0;

	expect_ring();

	signal(SIGALRM, on_alarm);
	before = now(CLOCK_MONOTONIC);
	check(!setitimer(ITIMER_REAL, &val, NULL));
	while (alarms < 100)
		pause();
	check(now(CLOCK_MONOTONIC) - before >= 100 * 1000000ll - 1000000);
	check(!setitimer(ITIMER_REAL, &off, NULL));
	printf("real\n");

	/* these count what user code and the kernel use of the processor */
	signal(SIGVTALRM, on_alarm);
	signal(SIGPROF, on_alarm);
	alarms = 0;
	check(!setitimer(ITIMER_VIRTUAL, &val, NULL));
	while (alarms < 5)
		__asm__ volatile("" : : : "memory");
	check(!setitimer(ITIMER_VIRTUAL, &off, NULL));
	alarms = 0;
	check(!setitimer(ITIMER_PROF, &val, NULL));
	while (alarms < 5)
		getppid();
	check(!setitimer(ITIMER_PROF, &off, NULL));
	check(now(CLOCK_PROCESS_CPUTIME_ID) > 0);
	printf("virtual\n");

	check(!sigaction(SIGRTMIN, &action, NULL));
	start_timer(3, 90000000, 0);
	start_timer(1, 30000000, 0);
	start_timer(2, 60000000, 0);
	while (norder < 3)
		pause();
	printf("order %d %d %d\n", order[0], order[1], order[2]);

	norder = overruns = 0;
	before = now(CLOCK_MONOTONIC);
	timer[0] = start_timer(1, 500000, 500000);
	while (norder + overruns < 200)
		__asm__ volatile("" : : : "memory");
	check(!timer_delete(timer[0]));
	after = now(CLOCK_MONOTONIC);
	check(norder + overruns <= (after - before) / 500000);
	printf("interval\n");

	event.sigev_notify = SIGEV_THREAD;
	event.sigev_value.sival_ptr = &ticks;
	event.sigev_notify_function = thread_timer;
	check(!timer_create(CLOCK_REALTIME, &event, &timer[1]));
	check(!timer_settime(timer[1], 0, &spec, NULL));
	while (__atomic_load_n(&ticks, __ATOMIC_SEQ_CST) < 10)
		usleep(1000);
	check(!timer_delete(timer[1]));
	printf("thread\n");

	fd = timerfd_create(CLOCK_MONOTONIC, 0);
	check(fd >= 0);
	before = now(CLOCK_MONOTONIC);
	check(!timerfd_settime(fd, 0, &spec, NULL));
	for (total = 0; total < 50; total += count) {
		check(read(fd, &count, sizeof(count)) == sizeof(count));
		check(count > 0);
	}
	after = now(CLOCK_MONOTONIC);
	check((int64_t)total <= (after - before) / 1000000);
	memset(&spec, 0, sizeof(spec));
	check(!timerfd_settime(fd, 0, &spec, NULL));
	pfd = (struct pollfd){ fd, POLLIN, 0 };
	check(poll(&pfd, 1, 5) == 0);
	spec.it_value.tv_sec = 1;	/* long ago */
	check(!timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL));
	check(poll(&pfd, 1, -1) == 1);
	check(read(fd, &count, sizeof(count)) == sizeof(count) && count == 1);
	close(fd);
	printf("timerfd\n");

	for (i = 0; i < 20; i++) {
		check(!clock_gettime(CLOCK_MONOTONIC, &ts));
		ts.tv_nsec += 2000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_nsec -= 1000000000;
			ts.tv_sec++;
		}
		check(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts,
				       NULL));
		check(now(CLOCK_MONOTONIC) >=
		      ts.tv_sec * 1000000000ll + ts.tv_nsec);
		before = now(CLOCK_MONOTONIC);
		ts = (struct timespec){ 0, 1000000 };
		check(!clock_nanosleep(CLOCK_REALTIME, 0, &ts, NULL));
		check(now(CLOCK_MONOTONIC) - before >= 1000000);
	}
	/* interrupted */
	alarms = 0;
	val = (struct itimerval){ { 0, 0 }, { 0, 10000 } };
	check(!setitimer(ITIMER_REAL, &val, NULL));
	ts = (struct timespec){ 100, 0 };
	check(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &left) == EINTR);
	check(alarms == 1 && left.tv_sec >= 90 && left.tv_sec < 100);
	ts = (struct timespec){ 0, 1000000000 };
	check(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL) == EINVAL);
	printf("sleep\n");

	printf("ok\n");
	return 0;
}
