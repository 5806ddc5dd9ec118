// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shortcuts by name: takes the calls that ring 0 makes by numbers which SYSCALL
 * does not have.  Number UKL_FIND gives the number of a name, the others are the
 * shortcuts in the order in which they were added.
 *
 * All modules are added before the first program starts: what is read here does
 * not change any more.
 */
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/ukl.h>
#include <ukl.h>

static struct ukl_shortcut known[128];
static unsigned int count;

static unsigned int index_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < count && strcmp(known[i].name, name); i++)
		;
	return i;
}

SYSCALL_DEFINE1(ukl_find, const char __user *, name)
{
	char wanted[64] = "";
	unsigned int i;
	long length;

	length = strncpy_from_user(wanted, name, sizeof(wanted) - 1);
	if (length < 0)
		return length;
	i = index_of(wanted);
	if (i == count)
		return -ENOENT;
	return UKL_FIND + i;
}

int ukl_add_shortcuts(const struct ukl_shortcut *shortcuts, unsigned int n)
{
	for (; n; n--, shortcuts++) {
		if (index_of(shortcuts->name) < count)
			return -EEXIST;
		if (count == ARRAY_SIZE(known))
			return -ENOSPC;
		known[count++] = *shortcuts;
	}
	return 0;
}
EXPORT_SYMBOL(ukl_add_shortcuts);

static long serve(const struct pt_regs *regs)
{
	unsigned long index = regs->orig_ax - UKL_FIND;

	if (index < count)
		return known[index].call(regs);
	/* Nobody's: SYSCALL is in front of the return address, let it say so. */
	((struct pt_regs *)regs)->ip -= 2;
	return regs->orig_ax;
}

static int __init ukl_names_init(void)
{
	static const struct ukl_shortcut find = UKL_SHORTCUT(ukl_find);
	int err = ukl_add_shortcuts(&find, 1);

	return err ?: ukl_serve(THIS_MODULE, serve);
}
module_init(ukl_names_init);

MODULE_DESCRIPTION("Shortcuts of ring 0 programs, by name");
MODULE_LICENSE("GPL");
