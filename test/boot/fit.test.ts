// SPDX-License-Identifier: MIT
/** Kernels for one program: kmain() in place of init, files that stay where the archive has them, and what is left out. */
import { Resolver } from 'node:dns/promises';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FEATURES, fitKernel, needsOfCalls, needsOfWords } from '../../src/kernels/fit.js';
import { errnoOf } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build, run } from '../../src/sdk/index.js';
import { host, runGuest, Sink, ukl } from './harness.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-fit-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const SOURCE = `
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int i, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "args")) {
		for (i = 2; i < argc; i++)
			printf("%s\\n", argv[i]);
		printf("VALUE=%s\\n", getenv("VALUE") ? getenv("VALUE") : "none");
		fprintf(stderr, "stderr\\n");
	} else if (!strcmp(what, "status")) {
		return atoi(argv[2]);
	} else if (!strcmp(what, "signal")) {
		raise(atoi(argv[2]));
	} else if (!strcmp(what, "missing")) {
		status = syscall(SYS_epoll_create1, 0);
		printf("%d %d\\n", status, errno);
	} else if (!strcmp(what, "orphan")) {
		/* The child dies before its own, whom PID 1 then has to reap. */
		if (!fork()) {
			if (!fork())
				_exit(9);
			_exit(0);
		}
		wait(&status);
		sleep(1);
		printf("%d\\n", status);
	} else if (!strcmp(what, "terminate")) {
		/* PID 1 passes it on. */
		kill(1, SIGTERM);
		pause();
	} else if (!strcmp(what, "wait")) {
		pause();
	} else if (!strcmp(what, "many")) {
		for (i = 0; i < 20000; i++)
			printf("%05d\\n", i);
	} else if (!strcmp(what, "bytes")) {
		fwrite("a\\r\\n\\0\\n", 1, 5, stdout);
	}
	return 0;
}
`;

test('a program that is started by a link has the name of the link, and is in ring 0', async () => {
  const file = join(work, 'names.c');
  // Code at CPL 0 has 0 in the low bits of CS.
  await writeFile(
    file,
    '#include <stdio.h>\nint main(int c, char **v) { unsigned short cs; asm("mov %%cs, %0" : "=r"(cs)); printf("%s in ring %d\\n", v[0], cs & 3); return c > 9; }\n',
  );
  const program = join(work, 'names');
  await exec(ukl, ['cc', '--', '-O2', '-static', '-o', program, file]);
  await symlink(program, join(work, 'other-name'));
  const image = join(work, 'names.img');
  await build({ name: 'names', program: join(work, 'other-name') }, { profile: 'hello', container: 'elf', out: image });
  const { stdout } = await runGuest(image, { accel: 'tcg' });
  expect(stdout).toBe(`${join(work, 'other-name')} in ring 0\n`);
});

describe.each(['elf', 'bzImage'] as const)('an image of the profile hello, as %s,', (container) => {
  let image: string;
  beforeAll(async () => {
    await writeFile(join(work, 'probe.c'), SOURCE);
    image = join(work, `probe.${container}`);
    const { manifest } = await build(join(work, 'probe.c'), { profile: 'hello', container, out: image });
    expect(manifest.init).toEqual({ kind: 'kmain' });
    expect(manifest.files.some(({ path }) => path.startsWith('/.ukl/'))).toBe(false);
  });

  test('takes arguments and variables', async () => {
    const { stdout, end } = await runGuest(image, { args: ['args', 'one', '-two=2'], env: { VALUE: 'with blanks' } });
    expect(stdout).toBe('one\n-two=2\nVALUE=with blanks\nstderr\n');
    expect(end).toEqual({ kind: 'exit', status: 0 });
  });
  test('tells how its program ended', async () => {
    expect((await runGuest(image, { args: ['status', '200'] })).end).toEqual({ kind: 'exit', status: 200 });
    expect((await runGuest(image, { args: ['signal', '11'] })).end).toMatchObject({ kind: 'signal', signal: 11 });
  });
  test('changes no byte of what its program prints', async () => {
    const stdout = new Sink();
    await using vm = await run(image, { args: ['bytes'], stdout });
    await vm.result;
    expect(stdout.text()).toBe('a\r\n\0\n');
  });
  test('loses nothing of what its program prints to a slow reader', async () => {
    let lines = '';
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, done) {
        lines += chunk.toString();
        // A reader that is asleep while the program ends.
        if (lines.length > chunk.length) done();
        else setTimeout(done, 3000);
      },
    });
    await using vm = await run(image, { args: ['many'], stdout: slow });
    expect((await vm.result).end).toEqual({ kind: 'exit', status: 0 });
    expect(lines).toBe(Array.from({ length: 20_000 }, (_, index) => `${String(index).padStart(5, '0')}\n`).join(''));
  });
  test('reaps orphans, and passes SIGTERM on', async () => {
    expect((await runGuest(image, { args: ['orphan'] })).stdout).toBe('0\n');
    expect((await runGuest(image, { args: ['terminate'] })).end).toMatchObject({ kind: 'signal', signal: 15 });
  });
  test('names the system call that its kernel was built without', async () => {
    const { code, stdout, stderr } = await host(ukl, ['run', image, '--', 'missing'], { NO_COLOR: '1' });
    expect({ code, stdout }).toEqual({ code: 0, stdout: '-1 38\n' });
    expect(stderr).toMatch(/its kernel was built without: epoll_create1\nnext: needs: \['epoll'\] in ukl\.config, or --profile server/);
  });
  test('says what would need an init', async () => {
    await expect(runGuest(image, { args: ['two words'] })).rejects.toThrow(/starts without an init, which an argument that .* would need/);
    await expect(runGuest(image, { volumes: [`${work}:/v`] })).rejects.toThrow(/which a volume would need/);
    await expect(runGuest(image, { env: { odd: '1' } })).rejects.toThrow(/the variable odd/);
    // One byte of the second character is a blank to the kernel.
    await expect(runGuest(image, { args: ['\u0420'] })).rejects.toThrow(/a blank or a quote/);
    await expect(runGuest(image, { args: ['x'.repeat(1100)] })).rejects.toThrow(/arguments of more than 1024 bytes/);
    await expect(runGuest(image, { ports: ['0:80'] })).rejects.toThrow(/was built without a network/);
    await expect(runGuest(image, { cpus: 2 })).rejects.toThrow(/was built without support for several processors/);
  });
  test('ends at once when it is told to', async () => {
    await using vm = await run(image, { args: ['wait'] });
    await vm.started;
    vm.signal('SIGTERM');
    expect((await vm.result).end).toEqual({ kind: 'interrupted', signal: 'SIGTERM' });
  });
  test('runs in 12 MiB, and says so of less', { timeout: 120_000 }, async () => {
    const memory = container === 'elf' ? '12M' : '20M';
    expect((await runGuest(image, { memory, args: ['status', '3'] })).end).toEqual({ kind: 'exit', status: 3 });
    await expect(runGuest(image, { memory: '8M' })).rejects.toThrow(/8 MiB are too little/);
  });
});

test('a program that needs an init is refused by the profile hello, before any work', async () => {
  const program = { name: 'probe', sources: [join(work, 'probe.c')], disks: ['x:/x'] };
  await expect(build(program, { profile: 'hello', out: join(work, 'refused') })).rejects.toThrow(/one is needed: a disk is to be mounted/);
});

describe('a fitted kernel', () => {
  test('has what the program calls, and what that stands on', () => {
    const { options, has, leftOut } = fitKernel([...needsOfCalls(new Set(['epoll_wait', 'socket'])), ...needsOfWords(['shmget'])]);
    expect(has).toEqual([
      { feature: 'net', why: 'socket()' },
      { feature: 'virtio', why: 'for net' },
      { feature: 'epoll', why: 'epoll_wait()' },
      { feature: 'sysvipc', why: 'asked for' },
    ]);
    expect(options).toContain('CONFIG_VIRTIO_NET=y');
    expect(leftOut).toContain('ipv6');
    expect(has.length + leftOut.length).toBe(FEATURES.length);
    expect(() => needsOfWords(['levitation'])).toThrow(/no feature of the kernel has the name 'levitation'/);
  });

  test('serves what a program with sockets does, in little memory, and has not what it does not need', { timeout: 900_000 }, async () => {
    await writeFile(
      join(work, 'upper.c'),
      `#include <arpa/inet.h>\n#include <ctype.h>\n#include <stdio.h>\n#include <sys/socket.h>\n#include <unistd.h>\n
int main(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(7000) };
	int server = socket(AF_INET, SOCK_STREAM, 0), peer, n, i;
	char text[64];

	if (bind(server, (struct sockaddr *)&any, sizeof(any)) || listen(server, 5))
		return 1;
	puts("listening");
	fflush(stdout);
	peer = accept(server, NULL, NULL);
	n = read(peer, text, sizeof(text));
	for (i = 0; i < n; i++)
		text[i] = toupper(text[i]);
	return write(peer, text, n) != n;
}
`,
    );
    const image = join(work, 'upper');
    const { manifest } = await build({ name: 'upper', sources: [join(work, 'upper.c')], ports: ['0:7000'] }, { profile: 'fit', container: 'elf', out: image });
    expect(manifest.init).toEqual({ kind: 'kmain' });
    expect(manifest.kernel.fit?.has.map(({ feature }) => feature)).toEqual(expect.arrayContaining(['net', 'virtio']));
    expect(manifest.kernel.fit?.leftOut).toEqual(expect.arrayContaining(['epoll', 'disk', 'ipv6']));

    const stdout = new Sink();
    await using vm = await run(image, { stdout, memory: '24M', timeout: 120 });
    await expect(vm.listening(7000)).rejects.toThrow(/cannot be asked what it listens on/);
    await stdout.until(/listening/);
    const socket = connect(vm.port(7000), '127.0.0.1');
    socket.write('quiet');
    const answer = await text(socket);
    expect(answer).toBe('QUIET');
    expect((await vm.result).end).toEqual({ kind: 'exit', status: 0 });

    const { stdout: report } = await host(ukl, ['inspect', image]);
    expect(report).toMatch(/has +net +\w+\(\)|has +net +ports/);
    expect(report).toMatch(/left out +.*\bepoll\b/);
    expect(report).toMatch(/surface +[\d.]+ MiB of code, \d+ system calls/);
  });

  test('serves the zone of examples/dns, an unmodified dnsmasq, in 20 MiB', { timeout: 900_000 }, async () => {
    await using vm = await run(join(projectRoot, 'examples/dns'), { memory: '20M', timeout: 120, stdout: new Sink() });
    const resolver = new Resolver({ timeout: 1000, tries: 1 });
    resolver.setServers([`127.0.0.1:${vm.port(53)}`]);
    /** Until the server is up, QEMU has nobody to hand a question to. */
    const ask = async <T>(question: () => Promise<T>): Promise<T> => {
      for (;;) {
        try {
          return await question();
        } catch (error) {
          if (!['ECONNREFUSED', 'ETIMEOUT'].includes(errnoOf(error) ?? '') || vm.state === 'ended') throw error;
        }
      }
    };
    expect(await ask(() => resolver.resolve4('www.example.test'))).toEqual(['192.0.2.80']);
    expect(await ask(() => resolver.resolveTxt('example.test'))).toEqual([['served by a unikernel']]);
    await expect(ask(() => resolver.resolve4('nobody.example.test'))).rejects.toMatchObject({ code: 'ENOTFOUND' });
    vm.kill();
    expect((await vm.result).missingCalls).toEqual([]);
  });
});
