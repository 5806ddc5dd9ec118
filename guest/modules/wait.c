// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ring 0 program that waits for its clients, alone on the only processor, waits
 * in place: the processor halts there, and goes on there at the next interrupt.
 * To sleep is to change to the idle task and back, to stop the tick and start it,
 * and to be woken: more than a small request takes otherwise.
 *
 * It waits so until the next tick, and then sleeps as ever: an idle server costs
 * nothing.  poll, epoll_wait and epoll_pwait only; with a second processor, whose
 * interrupts could be the ones that matter, not at all.
 */
#include <linux/hardirq.h>
#include <linux/jiffies.h>
#include <linux/kernel_stat.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <asm/irqflags.h>
#include <asm/ukl.h>

static struct ukl_call wait_poll, wait_epoll, wait_epoll_mask;

static unsigned long halts;
module_param(halts, ulong, 0444);
MODULE_PARM_DESC(halts, "waits that an interrupt ended in place");

/* Changes with each interrupt, and whatever came of it. */
static unsigned long happened(void)
{
	return raw_cpu_read(kstat.irqs_sum) + raw_cpu_read(irq_stat.apic_timer_irqs) +
	       raw_cpu_read(kstat.softirqs[NET_RX_SOFTIRQ]);
}

static bool alone(void)
{
	return num_online_cpus() == 1 && single_task_running() && !need_resched() &&
	       !signal_pending(current);
}

/* Asks without waiting until there is something, or until it is to sleep: 0. */
static long ask_and_halt(const struct pt_regs *regs, struct ukl_call *call)
{
	unsigned long began = jiffies, seen;
	long n;

	do {
		seen = happened();
		n = call->other(regs);
		/* What a signal is to restart must know of the whole timeout. */
		if (n)
			return n < 0 && signal_pending(current) ? 0 : n;
		local_irq_disable();
		if (happened() != seen || !alone()) {
			local_irq_enable();
			continue;
		}
		halts++;
		safe_halt();
	} while (alone() && jiffies == began);
	return 0;
}

static __always_inline long serve(const struct pt_regs *regs, unsigned long *timeout,
				  struct ukl_call *call)
{
	unsigned long wanted = *timeout;
	ktime_t began;
	long n, left;

	/* No timer is set while the processor halts here but the tick. */
	if (((int)wanted >= 0 && (int)wanted < 2 * MSEC_PER_SEC / HZ) || !alone())
		return call->other(regs);
	began = (int)wanted > 0 ? ktime_get() : 0;
	*timeout = 0;
	n = ask_and_halt(regs, call);
	*timeout = wanted;
	if (n)
		return n;
	if (began) {
		left = (int)wanted - (long)ktime_ms_delta(ktime_get(), began);
		*timeout = max(left, 0L);
	}
	n = call->other(regs);
	*timeout = wanted;
	return n;
}

static long serve_poll(const struct pt_regs *regs)
{
	return serve(regs, (unsigned long *)&regs->dx, &wait_poll);
}

static long serve_epoll(const struct pt_regs *regs)
{
	return serve(regs, (unsigned long *)&regs->r10, &wait_epoll);
}

/* With a mask of signals, a signal that it lets in must end the wait. */
static long serve_epoll_mask(const struct pt_regs *regs)
{
	return regs->r8 ? wait_epoll_mask.other(regs) :
	       serve(regs, (unsigned long *)&regs->r10, &wait_epoll_mask);
}

static struct ukl_call wait_poll = { __NR_poll, serve_poll },
	wait_epoll = { __NR_epoll_wait, serve_epoll },
	wait_epoll_mask = { __NR_epoll_pwait, serve_epoll_mask };

static int __init wait_init(void)
{
	return ukl_replace(THIS_MODULE, &wait_poll) ?:
	       ukl_replace(THIS_MODULE, &wait_epoll) ?:
	       ukl_replace(THIS_MODULE, &wait_epoll_mask);
}
module_init(wait_init);

MODULE_DESCRIPTION("Waiting in place");
MODULE_LICENSE("GPL");
