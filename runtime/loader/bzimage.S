/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Goes behind a bzImage, with an initramfs behind it, and makes the three one
 * file.  The setup code jumps here rather than to the kernel (code32_start, a
 * hook of the boot protocol: Documentation/arch/x86/boot.rst) in 32-bit mode,
 * with ESI pointing to boot_params.
 *
 * The kernel would decompress itself over what follows it.  So this moves the
 * initramfs as high as memory goes, below it the command line, tells
 * boot_params of both and goes on to the kernel.
 */
#define BP_SCRATCH		0x1e4
#define BP_E820_ENTRIES		0x1e8
#define BP_RAMDISK_IMAGE	0x218
#define BP_RAMDISK_SIZE		0x21c
#define BP_CMD_LINE_PTR		0x228
#define BP_INITRD_ADDR_MAX	0x22c
#define BP_E820_TABLE		0x2d0
#define E820_ENTRY_SIZE		20
#define E820_TYPE_RAM		1

	.code32
	.globl	_start
_start:
	cli
	leal	BP_SCRATCH+4(%esi), %esp	/* room for one word */
	call	1f
1:	popl	%ebx
	subl	$(1b - _start), %ebx

	/* EDI: the highest page from which on everything fits, 0 if none. */
	movl	(length - _start)(%ebx), %edx
	addl	$0x1fff, %edx			/* and a page for the words */
	xorl	%edi, %edi
	leal	BP_E820_TABLE(%esi), %ebp
	movzbl	BP_E820_ENTRIES(%esi), %ecx
.Lentry:
	jecxz	.Lfound
	decl	%ecx
	movl	4(%ebp), %eax
	testl	%eax, %eax			/* above 4 GiB */
	jnz	.Lnext
	cmpl	$E820_TYPE_RAM, 16(%ebp)
	jne	.Lnext
	movl	(%ebp), %eax
	addl	8(%ebp), %eax
	jc	.Lclamp
	cmpl	$0, 12(%ebp)
	jne	.Lclamp
	cmpl	BP_INITRD_ADDR_MAX(%esi), %eax
	jbe	.Lend
.Lclamp:
	movl	BP_INITRD_ADDR_MAX(%esi), %eax
.Lend:
	subl	%edx, %eax
	jc	.Lnext
	andl	$~0xfff, %eax
	cmpl	(%ebp), %eax			/* does it fit? */
	jb	.Lnext
	cmpl	%edi, %eax
	jbe	.Lnext
	movl	%eax, %edi
.Lnext:
	addl	$E820_ENTRY_SIZE, %ebp
	jmp	.Lentry

.Lfound:
	/* Not above ourselves: the kernel will say that it finds no init. */
	cmpl	%ebx, %edi
	jbe	.Lkernel
	movl	%edi, %ebp
	movl	%esi, %edx

	/* Our words, a blank, then what the VMM or boot loader has to say. */
	cld
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

	/* Source and destination may overlap, and the latter is higher. */
	leal	0x1000(%ebp), %edi
	movl	(length - _start)(%ebx), %ecx
	movl	%edi, BP_RAMDISK_IMAGE(%edx)
	movl	%ecx, BP_RAMDISK_SIZE(%edx)
	addl	$3, %ecx
	shrl	$2, %ecx
	leal	-4(%edi,%ecx,4), %edi
	movl	(start - _start)(%ebx), %esi
	addl	%ebx, %esi
	leal	-4(%esi,%ecx,4), %esi
	std
	rep	movsl
	cld
	movl	%edx, %esi

.Lkernel:
	movl	%ebx, %eax
	subl	(kernel - _start)(%ebx), %eax
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%eax

	/* Filled in by src/image/: what is where, relative to _start. */
	.balign	16
table:
kernel:	.long	0			/* the kernel's entry: how far below */
start:	.long	0			/* the initramfs: how far above */
length:	.long	0			/* and its length in bytes */
words:					/* the command line follows */
