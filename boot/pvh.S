/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A segment of an ELF image, besides the kernel's and one that holds the
 * initramfs.  The PVH note leads here (Documentation/arch/x86/boot.rst has the
 * bzImage's way), in 32-bit mode, with EBX pointing to hvm_start_info
 * (include/xen/interface/hvm/start_info.h).
 *
 * Adds the initramfs as a module and our words to the command line, then goes
 * on to the kernel.
 */
#define INFO_NR_MODULES		12
#define INFO_MODLIST		16
#define INFO_CMDLINE		24

	.code32
	.globl	_start
_start:
	movl	$0, %ebp			/* src/image/ puts our address here */
	movl	$1, INFO_NR_MODULES(%ebx)
	leal	(module - _start)(%ebp), %eax
	movl	%eax, INFO_MODLIST(%ebx)
	movl	$0, INFO_MODLIST+4(%ebx)

	/* What the VMM has to say comes behind our words. */
	movl	INFO_CMDLINE(%ebx), %esi
	leal	(words - _start)(%ebp), %edi
	movl	%edi, INFO_CMDLINE(%ebx)
	movl	$0, INFO_CMDLINE+4(%ebx)
	cld
	xorl	%eax, %eax
	movl	$2048, %ecx
	repne	scasb
	testl	%esi, %esi
	jz	.Lkernel
	movb	$' ', -1(%edi)
	movl	$2047, %ecx
.Ltheirs:
	lodsb
	stosb
	testb	%al, %al
	loopnz	.Ltheirs
	movb	$0, (%edi)
.Lkernel:
	jmp	*(kernel - _start)(%ebp)

	/* Filled in by src/image/: physical addresses. */
	.balign	16
table:
module:	.quad	0			/* the initramfs: its address, */
	.quad	0			/* its length in bytes, */
	.quad	0			/* no words of its own, reserved */
	.quad	0
kernel:	.long	0			/* the kernel's own PVH entry */
words:					/* the command line follows, then room */
