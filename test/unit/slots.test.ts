// SPDX-License-Identifier: MIT
/** The partition table of a disk that takes updates, whenever the power fails while its slots are exchanged. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { guidBytes, labelOf, slotBytes, uuidOf } from '../../src/containers/slots.js';
import { projectRoot } from '../../src/lib/paths.js';

const SECTOR = 512;
const BYTES = 16 * 2 ** 20;
const ENTRY = 128;
const ENTRIES = 128 * ENTRY;
let work: string;
let before: Buffer;
let after: Buffer;
/** One sector each, in the order in which they were written. */
const writes: { readonly at: number; readonly data: Buffer }[] = [];

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-slots-'));
  const disk = join(work, 'disk');
  await (await open(disk, 'wx')).truncate(BYTES);
  const table = `label: gpt\nlabel-id: ${uuidOf('test')}\nstart=2048, size=4096, type=uefi, attrs="LegacyBIOSBootable"\nstart=6144, size=4096\n`;
  execFileSync('/sbin/sfdisk', ['--quiet', disk], { input: table });
  before = await readFile(disk);
  const program = join(work, 'slots');
  execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-I', join(projectRoot, 'guest/init'), '-o', program, join(projectRoot, 'test/fixtures/exchange.c')]);
  expect(execFileSync(program, [disk, join(work, 'journal')]).toString()).toBe(`${2048 * SECTOR} ${6144 * SECTOR}\n`);
  after = await readFile(disk);
  const journal = await readFile(join(work, 'journal'));
  for (let at = 0; at < journal.length; ) {
    const [offset, length] = [Number(journal.readBigUInt64LE(at)), Number(journal.readBigUInt64LE(at + 8))];
    const data = journal.subarray(at + 16, at + 16 + length);
    for (let sector = 0; sector < length; sector += SECTOR) writes.push({ at: offset + sector, data: data.subarray(sector, sector + SECTOR) });
    at += 16 + length;
  }
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** The first partition's first sector, if the table at this sector is whole. */
function firstOf(disk: Buffer, lba: number): number | undefined {
  const header = Buffer.from(disk.subarray(lba * SECTOR, lba * SECTOR + 92));
  const sum = header.readUInt32LE(16);
  header.writeUInt32LE(0, 16);
  const entries = Number(header.readBigUInt64LE(72)) * SECTOR;
  const whole =
    header.toString('latin1', 0, 8) === 'EFI PART' && crc32(header) === sum && crc32(disk.subarray(entries, entries + ENTRIES)) === header.readUInt32LE(88);
  return whole ? Number(disk.readBigUInt64LE(entries + 32)) : undefined;
}

test('sfdisk takes the table', async () => {
  await writeFile(join(work, 'after'), after);
  const said = execFileSync('/sbin/sfdisk', ['--dump', join(work, 'after')]).toString();
  expect(said).toMatch(/after1 : start= +6144, size= +4096, type=C12A7328.*attrs="LegacyBIOSBootable"/);
  expect(said).toMatch(/after2 : start= +2048, size= +4096/);
  expect(execFileSync('/sbin/sfdisk', ['--verify', join(work, 'after')]).toString()).toContain('No errors detected');
});

test('one of the two tables is whole after each sector, in whichever order a write reaches the disk', () => {
  expect(firstOf(before, 1)).toBe(2048);
  const last = BYTES / SECTOR - 1;
  const seen = new Set<string>();
  const look = (disk: Buffer): void => {
    const [primary, copy] = [firstOf(disk, 1), firstOf(disk, last)];
    const firmware = primary ?? copy;
    expect([2048, 6144]).toContain(firmware);
    // SYSLINUX' code in the first sector reads the entries, and no sums.
    expect([2048, 6144]).toContain(Number(disk.readBigUInt64LE(2 * SECTOR + 32)));
    seen.add(`${primary ?? 'torn'} ${copy ?? 'torn'}`);
  };
  const disk = Buffer.from(before);
  for (const { at, data } of writes) {
    data.copy(disk, at);
    look(disk);
  }
  expect(disk.equals(after)).toBe(true);
  // The first table is one write, whose sectors may come in any order.
  const primary = writes.filter(({ at }) => at < 34 * SECTOR);
  const torn = Buffer.from(before);
  for (const { at, data } of [...writes.filter(({ at }) => at >= 34 * SECTOR), ...primary.reverse()]) {
    data.copy(torn, at);
    look(torn);
  }
  expect([...seen].sort()).toEqual(['2048 6144', '2048 torn', '6144 6144', 'torn 6144']);
});

test('a slot has room for twice as much, and a label says what is in it', async () => {
  expect(slotBytes(34 * 2 ** 20)).toBe(128 * 2 ** 20);
  expect(slotBytes(64 * 2 ** 20)).toBe(192 * 2 ** 20);
  const sum = 'ab'.repeat(32);
  const label = await labelOf({ name: 'web', bytes: 4096, sum }, undefined);
  expect(label).toHaveLength(4096);
  expect(label.toString('latin1', 0, 8)).toBe('UKLSLOT1');
  expect(label.toString('hex', 32, 64)).toBe(sum);
  expect(label.toString('latin1', 88, 104)).toBe('web abababababab');
  expect(guidBytes('00112233-4455-6677-8899-aabbccddeeff').toString('hex')).toBe('33221100554477668899aabbccddeeff');
});
