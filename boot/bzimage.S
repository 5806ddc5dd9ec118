/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Goes behind a bzImage, with an initramfs behind it, and makes the three one
 * file.  The setup code jumps here rather than to the kernel (code32_start, a
 * hook of the boot protocol: Documentation/arch/x86/boot.rst) in 32-bit mode,
 * with ESI pointing to boot_params.
 *
 * The kernel would write over what follows it: its stack is there, and it
 * decompresses itself to higher addresses.  It runs wherever it is aligned,
 * and is often the smaller one.  So this tells boot_params of the initramfs,
 * where it is, puts the command line behind it, and moves the kernel behind
 * both.
 */
#define BP_SCRATCH		0x1e4
#define BP_E820_ENTRIES		0x1e8
#define BP_RAMDISK_IMAGE	0x218
#define BP_RAMDISK_SIZE		0x21c
#define BP_CMD_LINE_PTR		0x228
#define BP_KERNEL_ALIGNMENT	0x230
#define BP_INIT_SIZE		0x260
#define BP_E820_TABLE		0x2d0
#define E820_ENTRY_SIZE		20
#define E820_TYPE_RAM		1

	.code32
	.globl	_start
_start:
	cli
	cld
	leal	BP_SCRATCH+4(%esi), %esp	/* room for one word */
	call	1f
1:	popl	%ebx
	subl	$(1b - _start), %ebx
	movl	%esi, %edx

	/* EBP: the page behind the initramfs, for the command line. */
	movl	(start - _start)(%ebx), %eax
	addl	%ebx, %eax
	movl	(length - _start)(%ebx), %ecx
	leal	0xfff(%eax,%ecx), %ebp
	andl	$~0xfff, %ebp

	/* EDI: where the kernel goes, EAX: the end of what it takes there. */
	movl	BP_KERNEL_ALIGNMENT(%edx), %esi
	leal	0xfff(%ebp,%esi), %edi
	negl	%esi
	andl	%esi, %edi
	movl	BP_INIT_SIZE(%edx), %eax
	addl	%edi, %eax

	/* Without so much memory, the kernel will say that it finds no init. */
	leal	BP_E820_TABLE(%edx), %esi
	movzbl	BP_E820_ENTRIES(%edx), %ecx
.Lentry:
	jecxz	.Lkernel
	decl	%ecx
	cmpl	$E820_TYPE_RAM, 16(%esi)
	jne	.Lnext
	cmpl	$0, 4(%esi)			/* above 4 GiB */
	jne	.Lnext
	cmpl	%edi, (%esi)
	ja	.Lnext
	subl	(%esi), %eax
	cmpl	$0, 12(%esi)
	jne	.Lfits
	cmpl	%eax, 8(%esi)
	jae	.Lfits
	addl	(%esi), %eax
.Lnext:
	addl	$E820_ENTRY_SIZE, %esi
	jmp	.Lentry
.Lkernel:
	movl	%ebx, %eax
	subl	(kernel - _start)(%ebx), %eax
	jmp	.Lgo

.Lfits:
	pushl	%edi
	movl	(start - _start)(%ebx), %eax
	addl	%ebx, %eax
	movl	%eax, BP_RAMDISK_IMAGE(%edx)
	movl	(length - _start)(%ebx), %ecx
	movl	%ecx, BP_RAMDISK_SIZE(%edx)

	/* Our words, a blank, then what the VMM or boot loader has to say. */
	movl	%ebp, %edi
	leal	(words - _start)(%ebx), %esi
.Lours:
	lodsb
	testb	%al, %al
	jz	.Lblank
	stosb
	jmp	.Lours
.Lblank:
	movb	$' ', %al
	stosb
	movl	BP_CMD_LINE_PTR(%edx), %esi
	testl	%esi, %esi
	jz	.Lterminate
.Ltheirs:
	leal	0xfff(%ebp), %eax
	cmpl	%eax, %edi
	jae	.Lterminate
	lodsb
	testb	%al, %al
	jz	.Lterminate
	stosb
	jmp	.Ltheirs
.Lterminate:
	movb	$0, (%edi)
	movl	%ebp, BP_CMD_LINE_PTR(%edx)

	movl	(kernel - _start)(%ebx), %ecx
	movl	%ebx, %esi
	subl	%ecx, %esi
	shrl	$2, %ecx
	movl	(%esp), %edi
	rep	movsl
	popl	%eax
.Lgo:
	movl	%edx, %esi
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%eax

	/* Filled in by src/image/: what is where, relative to _start. */
	.balign	16
table:
kernel:	.long	0			/* the kernel's entry: how far below */
start:	.long	0			/* the initramfs, on a page of its own: how far above */
length:	.long	0			/* and its length in bytes */
words:					/* the command line follows */
