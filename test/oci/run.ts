// SPDX-License-Identifier: MIT
/**
 * Images that buildah built from Containerfiles, as unikernels: busybox, redis,
 * nginx, Node.js. `npx tsx test/oci/run.ts` writes docs/notes/oci.md. As root, for
 * buildah's owners.
 */
import { copyFile, mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ensurePackages } from '../../src/host/requirements.js';
import { exec } from '../../src/lib/exec.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { formatSize } from '../../src/lib/size.js';
import { packFile } from '../../src/packing/files.js';
import { build, createLog, type RunningVm, run } from '../../src/sdk/index.js';
import { Cases, writeWholeNote } from '../cases.js';

const SECONDS = 180;
const RETRY_MS = 100;

/** What is looked at in the image, in the guest and in buildah's chroot: the two are to say the same. */
const SCRIPT = `id
pwd
echo "$GREETING, $HOME, $0, $#: $*"
ls -ln /bin/busybox /bin/sort /srv/owned /srv/link | awk '{ print $1, $2, $3, $4, $NF }'
readlink /srv/link; cat /srv/link
[ -e /srv/removed ] && echo 'still there'
seq 1 2000 | sort -rn | head -n 3
for f in /etc/passwd /bin/busybox; do sha256sum $f; done
( exit 7 ) || echo "a sub-shell ended with $?"
echo 'to stderr' > /dev/stderr
exit 3`;

interface Case {
  readonly name: string;
  /** Programs and files of this host, as --file has them. */
  readonly files: readonly string[];
  /** Further files of the image, by path. */
  readonly texts?: Readonly<Record<string, string>>;
  readonly containerfile: string;
  /** Settles with what was seen; throws what was not. */
  look(vm: RunningVm, began: number): Promise<string>;
  readonly port?: number;
}

const since = (began: number): string => `${((performance.now() - began) / 1000).toFixed(1)} s`;

/** Asks until there is an answer, or the guest has ended. */
async function answered<T>(vm: RunningVm, ask: () => Promise<T | undefined>): Promise<T> {
  let over = false;
  const end = (): void => {
    over = true;
  };
  vm.result.then(end, end);
  while (!over) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    await setTimeout(RETRY_MS);
  }
  throw new Error(`the guest ended: ${JSON.stringify((await vm.result).end)}`);
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const page = (vm: RunningVm, port: number): Promise<string> =>
  answered(vm, async () => {
    const answer = await fetch(`http://127.0.0.1:${vm.port(port)}/`, { signal: AbortSignal.timeout(5000) });
    return answer.ok ? answer.text() : undefined;
  });

/** Ends a server as docker stop does. */
async function stopped(vm: RunningVm): Promise<string> {
  vm.signal((vm.plan.image.manifest.run.stopSignal ?? 'SIGTERM') as NodeJS.Signals);
  const { end } = await vm.result;
  return `ends with ${end.kind === 'exit' ? `status ${end.status}` : JSON.stringify(end)}`;
}

const cases: readonly Case[] = [
  {
    name: 'busybox',
    files: ['/bin/busybox:/bin/busybox'],
    texts: { '/srv/owned': 'owned\n', '/srv/removed': '' },
    containerfile: `FROM scratch
COPY . /
RUN ["/bin/busybox", "--install", "/bin"]
RUN ["/bin/sh", "-c", "rm /srv/removed; chown 5:6 /srv/owned; chmod 640 /srv/owned; ln -s owned /srv/link; echo root:x:0:0::/home/root: > /etc/passwd"]
ENV GREETING=hello
WORKDIR /srv/work
CMD ["sh", "-c", "${SCRIPT.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}", "name", "one", "two"]
`,
    look: async (vm, began) => {
      const [stdout, stderr, { end }] = await Promise.all([textOf(vm.stdout as AsyncIterable<Buffer>), textOf(vm.stderr as AsyncIterable<Buffer>), vm.result]);
      const seconds = since(began);
      const expected = await exec('sh', [
        '-c',
        `buildah run --isolation chroot ${await containerOf('busybox')} sh -c "$1" name one two 2>${join(work, 'stderr')}; echo "status $?"`,
        'sh',
        SCRIPT,
      ]);
      const same = `${stdout}status ${end.kind === 'exit' ? end.status : -1}` === expected.trimEnd();
      if (!same || stderr !== 'to stderr\n') throw new Error(`the guest says\n${stdout}${stderr}${JSON.stringify(end)}\nand buildah\n${expected}`);
      return `the script's ${stdout.split('\n').length - 1} lines and status, as in \`buildah run\`, after ${seconds}`;
    },
  },
  {
    name: 'redis',
    files: ['/usr/bin/redis-server:/usr/bin/redis-server'],
    texts: { '/etc/passwd': 'redis:x:999:998::/data:\n', '/new/.keep': '' },
    containerfile: `FROM scratch
COPY . /
COPY --chown=999:998 new/ /data/
VOLUME /data
WORKDIR /data
USER redis
EXPOSE 6379
STOPSIGNAL SIGINT
CMD ["redis-server", "--protected-mode", "no"]
`,
    port: 6379,
    look: async (vm, began) => {
      vm.stdout.resume();
      vm.stderr.resume();
      const port = String(vm.port(6379));
      const cli = async (...words: string[]): Promise<string> => (await exec('redis-cli', ['-p', port, ...words])).trim();
      await answered(vm, async () => ((await cli('ping')) === 'PONG' ? true : undefined));
      const seconds = since(began);
      const load = /([\d.]+) requests per second/.exec(await exec('redis-benchmark', ['-p', port, '-t', 'get', '-n', '5000', '-c', '8', '-q']))?.[1] ?? '?';
      return `answers after ${seconds}; ${Math.round(Number(load))} GET a second; ${await stopped(vm)}`;
    },
  },
  {
    name: 'nginx',
    files: ['/usr/sbin/nginx:/usr/sbin/nginx', '/bin/dash:/bin/sh', '/etc/nginx/mime.types:/etc/nginx/mime.types'],
    texts: {
      '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:\n',
      '/etc/group': 'root:x:0:\nwww-data:x:33:\n',
      '/etc/nginx/nginx.conf': `user www-data;\nworker_processes 2;\nerror_log /dev/stderr;\npid /run/nginx.pid;\nevents {}\nhttp { include mime.types; access_log /dev/stdout; server { listen 80; root /var/www; } }\n`,
      '/var/www/index.html': 'from a container image\n',
      '/entry.sh': '#!/bin/sh\nset -e\necho "entry point: $*"\nexec "$@"\n',
      '/run/.keep': '',
      '/var/log/nginx/.keep': '',
      '/var/lib/nginx/.keep': '',
    },
    containerfile: `FROM scratch
COPY . /
EXPOSE 80
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/entry.sh"]
CMD ["nginx", "-g", "daemon off;"]
`,
    port: 80,
    look: async (vm, began) => {
      const stdout = textOf(vm.stdout as AsyncIterable<Buffer>);
      vm.stderr.resume();
      const text = await page(vm, 80);
      const seconds = since(began);
      const ring0 = vm.plan.image.manifest.ring0.join(' ');
      const end = await stopped(vm);
      if (text !== 'from a container image\n' || !/^entry point: nginx -g daemon off;\n10\.0\.2\.2 /.test(await stdout))
        throw new Error(`${text}${await stdout}`);
      return `serves a page after ${seconds}, ${ring0} in ring 0; logs to /dev/stdout; ${end}`;
    },
  },
  {
    name: 'node',
    files: [`${process.execPath}:/usr/local/bin/node`],
    texts: {
      '/app/server.js': `const { createServer } = require('node:http');
createServer((_, response) => response.end(\`\${process.getuid()} in \${process.cwd()}, \${process.env.GREETING}\`)).listen(8080);
process.on('SIGTERM', () => process.exit(0));
`,
    },
    containerfile: `FROM scratch
COPY . /
ENV GREETING=hello
WORKDIR /app
USER 1000
EXPOSE 8080
CMD ["node", "server.js"]
`,
    port: 8080,
    look: async (vm, began) => {
      vm.stdout.resume();
      vm.stderr.resume();
      const text = await page(vm, 8080);
      const seconds = since(began);
      if (text !== '1000 in /app, hello') throw new Error(text);
      return `serves as its user after ${seconds}; ${await stopped(vm)}`;
    },
  },
];

const log = createLog();
await ensurePackages(log, [
  { package: 'buildah', why: 'builds container images', file: '/usr/bin/buildah' },
  { package: 'busybox-static', why: 'is in one', file: '/bin/busybox' },
  { package: 'redis-server', why: 'is in one', file: '/usr/bin/redis-server' },
  { package: 'nginx-light', why: 'is in one', file: '/usr/sbin/nginx' },
]);
await using scratch = await makeScratch('oci');
const work = scratch.path;
process.env.STORAGE_DRIVER = 'vfs';

const containerOf = async (name: string): Promise<string> => (await exec('buildah', ['from', '--pull-never', `localhost/ukl-test-${name}`])).trim();

/** Writes the context of a Containerfile, has buildah build it, and saves the image as docker does. */
async function archiveOf({ name, files, texts = {}, containerfile }: Case): Promise<string> {
  const context = join(work, name);
  const place = async (guest: string): Promise<string> => {
    const path = join(context, guest);
    await mkdir(dirname(path), { recursive: true });
    return path;
  };
  for (const word of files) {
    for (const file of await packFile(word, '/')) {
      if (file.kind === 'file') await copyFile(file.host, await place(file.guest));
      else if (file.kind === 'symlink') await symlink(file.target, await place(file.guest)).catch(() => {});
    }
  }
  for (const [guest, text] of Object.entries(texts)) await writeFile(await place(guest), text, { mode: guest.endsWith('.sh') ? 0o755 : 0o644 });
  await mkdir(join(context, 'etc'), { recursive: true });
  const recipe = join(work, `${name}.containerfile`);
  await writeFile(recipe, containerfile);
  await exec('buildah', ['build', '--quiet', '--isolation', 'chroot', '-t', `localhost/ukl-test-${name}`, '-f', recipe, context]);
  const archive = join(work, `${name}.tar`);
  await exec('buildah', ['push', '--quiet', `localhost/ukl-test-${name}`, `docker-archive:${archive}:${name}:latest`]);
  return archive;
}

async function look(one: Case, image: string): Promise<string> {
  const began = performance.now();
  await using vm = await run(image, { timeout: SECONDS, accel: 'tcg', ...(one.port === undefined ? {} : { ports: [`0:${one.port}`] }) });
  return await one.look(vm, began);
}

const tried = new Cases(log);
for (const one of cases) {
  const archive = await log.step(`build ${one.name} by buildah`, () => archiveOf(one));
  const reference = `docker-archive:${archive}`;
  const image = join(work, `${one.name}.image`);
  await build(reference, { log, out: image });
  const sizes = await Promise.all([archive, image].map(async (path) => formatSize((await stat(path)).size)));
  await tried.try([one.name, ...sizes], () => look(one, image));
  await exec('buildah', ['rmi', '--force', `localhost/ukl-test-${one.name}`]).catch(() => '');
}

await writeWholeNote(
  'oci.md',
  `# Container images that were run

\`npx tsx test/oci/run.ts\`, the last time it was run: images that Debian's buildah built from Containerfiles on \`scratch\`, with programs of Debian and the host's Node.js ${process.version}, saved as
\`docker-archive\` and built as bzImages, in QEMU's emulation with one processor. Times are from \`ukl run IMAGE\`, with the start of the VMM, on a busy host.

| image | archive | with its kernel | what was seen |
| --- | --- | --- | --- |
${tried.rows.join('\n')}

\`podman run\` does not work where ukl is developed: crun may not raise limits there (RLIMIT_NOFILE). \`buildah run --isolation chroot\` takes its place.
No registry but Debian's docker-registry and the tests' own has been spoken to; urunc has not been run.
`,
);
tried.end();
