// SPDX-License-Identifier: MIT
/** A machine that is given new images: one that does well, and one that does not. test/updates tries firmwares, signatures and power cuts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { configOf, makeDisk, makeUpdate } from '../updates/images.js';
import { Pc } from '../updates/machine.js';

let work: string;
let pc: Pc;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-updates-'));
  await makeDisk(join(work, 'disk'), configOf('1', 'serves'));
  pc = await Pc.start(work, join(work, 'disk'), 'bios');
});
afterAll(async () => {
  await pc?.cut();
  await rm(work, { recursive: true, force: true });
});

test('a new image is started and kept; after one whose program ends, the one before is back', async () => {
  const good = await makeUpdate(join(work, 'good'), configOf('2', 'serves'));
  const bad = await makeUpdate(join(work, 'bad'), configOf('3', 'exits'));
  await pc.serves('1');
  expect(await pc.push(good)).toMatch(/is written\n$/);
  await pc.says(/init: web [0-9a-f]+: on trial\n/);
  await pc.serves('2');
  await pc.says(/init: web [0-9a-f]+: good\n/);
  // By kexec: the firmware has no part in it.
  expect([pc.resets, pc.starts]).toEqual([0, 1]);

  await pc.push(bad);
  await pc.says(/: on trial\n/);
  await pc.says(/init: web [0-9a-f]+ was tried, and is not used\n/);
  await pc.serves('2');
  expect(pc.starts).toBe(2);
});
