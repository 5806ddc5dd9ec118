// SPDX-License-Identifier: MIT
/** What `npm pack` makes, used as a user does: installed from the tarball, outside of the checkout. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';

let work: string;
let project: string;
const npm = (...args: readonly string[]): Promise<string> => exec('npm', args, { cwd: project });

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-package-'));
  project = join(work, 'project');
  await mkdir(project);
  await exec('npm', ['pack', '--pack-destination', work, '--loglevel=error'], { cwd: projectRoot });
  const [tarball = ''] = (await readdir(work)).filter((name) => name.endsWith('.tgz') && !name.includes('prebuilt'));
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
  await npm('install', '--no-audit', '--no-fund', '--prefer-offline', join(work, tarball));
}, 300_000);
afterAll(() => rm(work, { recursive: true, force: true }));

test('npx ukl runs a C file', async () => {
  await writeFile(join(project, 'hello.c'), '#include <stdio.h>\nint main(void) { puts("hello from a package"); }\n');
  expect(await exec('npx', ['ukl', 'run', 'hello.c'], { cwd: project })).toBe('hello from a package');
});

test('the SDK has types, and runs', async () => {
  await writeFile(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: { module: 'nodenext', target: 'es2023', lib: ['es2023', 'esnext.disposable'], strict: true, noEmit: true, types: ['node'] },
    }),
  );
  await writeFile(
    join(project, 'program.ts'),
    `import { text } from 'node:stream/consumers';
import { run, type RunResult } from 'ukl';
const vm = await run('hello.c', { accel: 'tcg' });
const result: RunResult = await vm.result;
console.log(await text(vm.stdout), result.exitCode);
`,
  );
  await exec('node', ['node_modules/typescript/bin/tsc', '-p', '.'], { cwd: project });
  await writeFile(join(project, 'wrong.ts'), "import { run } from 'ukl';\nawait run('hello.c', { cpus: 'two' });\n");
  await expect(exec('node', ['node_modules/typescript/bin/tsc', '-p', '.'], { cwd: project })).rejects.toMatchObject({
    details: expect.stringMatching(/wrong\.ts.*'string' is not assignable to type 'number/) as string,
  });
  await rm(join(project, 'wrong.ts'));
  await exec('npx', ['esbuild', 'program.ts', '--outfile=program.js', '--log-level=error'], { cwd: project });
  expect(await exec('node', ['program.js'], { cwd: project })).toBe('hello from a package\n 0');
});

test('ukl init writes a project that names no path of this machine, and that is type-checked', async () => {
  await exec('npx', ['ukl', 'init', 'server'], { cwd: project });
  const files = await readdir(join(project, 'server'));
  expect(files.sort()).toEqual(['.gitignore', 'package.json', 'server.ts', 'tsconfig.json', 'ukl.config.ts']);
  expect(await exec('grep', ['-rl', projectRoot, 'server'], { cwd: project }).catch(() => '')).toBe('');
  expect(await exec('grep', ['-rl', work, 'server'], { cwd: project }).catch(() => '')).toBe('');
  await exec('npx', ['ukl', 'build', 'server'], { cwd: project });
});

test('with ukl-prebuilt beside it, an empty store compiles neither kernel nor C library', { timeout: 300_000 }, async () => {
  const store = join(work, 'store');
  await exec('node', ['--import', join(projectRoot, 'node_modules/tsx/dist/loader.mjs'), join(projectRoot, 'scripts/pack-prebuilt.ts'), work], {
    cwd: projectRoot,
  });
  const [tarball = ''] = (await readdir(work)).filter((name) => name.startsWith('ukl-prebuilt-'));
  await npm('install', '--no-audit', '--no-fund', '--prefer-offline', join(work, tarball));
  expect(await exec('npx', ['ukl', 'run', 'hello.c'], { cwd: project, env: { UKL_STORE: store } })).toBe('hello from a package');
  expect((await readdir(join(store, 'logs'))).filter((name) => /^(kernel|glibc)/.test(name))).toEqual([]);
  expect(await exec('npx', ['tsx', join(projectRoot, 'scripts/pack-prebuilt.ts'), '--check', join(work, tarball)], { cwd: projectRoot })).not.toMatch(
    /differs/,
  );
});
