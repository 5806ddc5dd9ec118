// SPDX-License-Identifier: MIT
/**
 * Packs the kernels and C libraries of this store as the npm package
 * ukl-prebuilt, for a release; or compares such a package with them.
 *
 *     npx tsx scripts/pack-prebuilt.ts DIRECTORY         # writes ukl-prebuilt-VERSION.tgz there
 *     npx tsx scripts/pack-prebuilt.ts --check TARBALL   # are these the bits that are built here?
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { getKernel, prebuiltKernel } from '../src/kernels/kernel.js';
import { kernelSpec } from '../src/kernels/lines.js';
import { exec } from '../src/lib/exec.js';
import { hashFile } from '../src/lib/hash.js';
import { createLog } from '../src/lib/log.js';
import { projectRoot } from '../src/lib/paths.js';
import { getGlibc, prebuiltLibc } from '../src/libc/glibc.js';
import { PACKAGE, type Prebuilt, prebuiltKey, prebuiltSchema } from '../src/store/prebuilt.js';

const log = createLog();
const packageJson = z.object({ version: z.string(), license: z.string() });

/** What a release carries: made now if it is missing in this store. */
async function entries(): Promise<readonly { readonly prebuilt: Prebuilt; readonly directory: string }[]> {
  const kernels = (['ukl', 'stock'] as const).map((flavour) => kernelSpec(flavour));
  const found: { prebuilt: Prebuilt; directory: string }[] = [];
  for (const spec of kernels) {
    const { bzImage } = await getKernel(spec, { log });
    found.push({ prebuilt: await prebuiltKernel(spec), directory: dirname(bzImage) });
  }
  for (const kind of ['complete', 'static'] as const)
    found.push({ prebuilt: await prebuiltLibc(kind), directory: dirname((await getGlibc(kind, { log })).lib) });
  return found;
}

async function hashes(directory: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    // The record is about this store, and prebuilt.json about the files.
    if (entry.isFile() && !['.store.json', 'prebuilt.json'].includes(entry.name)) files[relative(directory, path)] = await hashFile(path);
  }
  return files;
}

async function pack(destination: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'ukl-prebuilt-'));
  try {
    const { version, license } = packageJson.parse(JSON.parse(await readFile(join(projectRoot, 'package.json'), 'utf8')));
    await writeFile(
      join(work, 'package.json'),
      JSON.stringify(
        { name: PACKAGE, version, license, description: "ukl's kernel and C library, as built from source", os: ['linux'], cpu: ['x64'] },
        null,
        2,
      ),
    );
    await cp(join(projectRoot, 'LICENSES'), join(work, 'LICENSES'), { recursive: true });
    for (const { prebuilt, directory } of await entries()) {
      const to = join(work, 'entries', prebuilt.name);
      await mkdir(to, { recursive: true });
      const files = await hashes(directory);
      for (const path of Object.keys(files)) await cp(join(directory, path), join(to, path), { recursive: true });
      await writeFile(join(to, 'prebuilt.json'), JSON.stringify({ key: prebuiltKey(prebuilt), files }, null, 2));
    }
    console.log((await exec('npm', ['pack', '--pack-destination', destination, '--loglevel=error'], { cwd: work })).trim());
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Whether a package has the bits that are built here. */
async function check(tarball: string): Promise<boolean> {
  const work = await mkdtemp(join(tmpdir(), 'ukl-prebuilt-'));
  let same = true;
  try {
    await exec('tar', ['-x', '-f', tarball, '-C', work, '--strip-components=1']);
    for (const { prebuilt, directory } of await entries()) {
      const text = await readFile(join(work, 'entries', prebuilt.name, 'prebuilt.json'), 'utf8').catch(() => undefined);
      const packed = text === undefined ? undefined : prebuiltSchema.parse(JSON.parse(text));
      const here = await hashes(directory);
      const wrong =
        packed === undefined ? ['not in the package'] : Object.keys({ ...here, ...packed.files }).filter((path) => here[path] !== packed.files[path]);
      const verdict =
        wrong.length > 0 ? `differs: ${wrong.join(', ')}` : packed?.key === prebuiltKey(prebuilt) ? 'the same bits' : 'the same bits, of other inputs';
      if (wrong.length > 0) same = false;
      console.log(`${prebuilt.name}: ${verdict}`);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return same;
}

const { values, positionals } = parseArgs({ options: { check: { type: 'boolean', default: false } }, allowPositionals: true });
const [path = '.'] = positionals;
if (!values.check) await pack(path);
else if (!(await check(path))) process.exitCode = 1;
