// SPDX-License-Identifier: MIT
/**
 * Appends numbered records to /data/journal, and says so of each once it is on
 * the disk. At the start it tells what is there: run it, cut the power, run it.
 */
import { open } from 'node:fs/promises';

const RECORD = 4096;

const file = await open('/data/journal', 'a+');
const { size } = await file.stat();
const records = Math.floor(size / RECORD);
const last = Buffer.alloc(RECORD);
if (records > 0) await file.read(last, 0, RECORD, (records - 1) * RECORD);
console.log(`found ${records} records, the last says ${records > 0 ? last.readUInt32LE(0) : 'nothing'}`);
// Half a record is what a power failure may leave.
if (size % RECORD !== 0) await file.truncate(records * RECORD);

const count = Number(process.argv[2] ?? 1000);
for (let n = records + 1; n <= records + count; n++) {
  const record = Buffer.alloc(RECORD);
  record.writeUInt32LE(n, 0);
  await file.write(record);
  await file.datasync();
  console.log(`written ${n}`);
}
await file.close();
