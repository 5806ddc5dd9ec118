// SPDX-License-Identifier: MIT
/** As much of PostgreSQL's protocol as a load needs: postgresql.org, "Frontend/Backend Protocol". */

/** A letter and what belongs to it. */
export interface PostgresMessage {
  readonly type: string;
  readonly body: Buffer;
  /** Of its end in the bytes that it was read from. */
  readonly end: number;
}

/** The messages that are whole: a letter, a length, and as much less four. */
export function* postgresMessages(bytes: Buffer): Generator<PostgresMessage> {
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) return;
    yield { type: String.fromCharCode(bytes[at] ?? 0), body: bytes.subarray(at + 5, end), end };
    at = end;
  }
}

/** User and database, where nobody is asked for a password. */
export const postgresStartup = ((): Buffer => {
  const words = Buffer.from('user\0postgres\0database\0postgres\0\0');
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + words.length, 0);
  head.writeUInt32BE(3 << 16, 4);
  return Buffer.concat([head, words]);
})();

export function postgresQuery(text: string): Buffer {
  const body = Buffer.from(`${text}\0`);
  const head = Buffer.alloc(5);
  head.write('Q');
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
