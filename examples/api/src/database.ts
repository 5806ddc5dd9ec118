// SPDX-License-Identifier: MIT
import { DatabaseSync } from 'node:sqlite';

export interface User {
  readonly id: number;
  readonly name: string;
  readonly password: string;
}

export interface Note {
  readonly id: number;
  readonly title: string;
  readonly text: string;
  readonly changed: string;
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA foreign_keys = ON;
  CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    changed TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS notes_of ON notes (owner, id);
`;

/** Users and their notes. What a method has returned from is on the disk. */
export class Database {
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    this.#database.exec(SCHEMA);
  }

  /** Undefined if the name is taken. */
  addUser(name: string, password: string): User | undefined {
    return this.#database.prepare('INSERT INTO users (name, password) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING *').get(name, password) as User | undefined;
  }

  findUser(name: string): User | undefined {
    return this.#database.prepare('SELECT * FROM users WHERE name = ?').get(name) as User | undefined;
  }

  addNote(owner: number, title: string, text: string): Note {
    return this.#database
      .prepare('INSERT INTO notes (owner, title, text, changed) VALUES (?, ?, ?, ?) RETURNING id, title, text, changed')
      .get(owner, title, text, new Date().toISOString()) as unknown as Note;
  }

  /** The notes behind `after`, oldest first. */
  notes(owner: number, after: number, limit: number): Note[] {
    return this.#database.prepare('SELECT id, title, text, changed FROM notes WHERE owner = ? AND id > ? ORDER BY id LIMIT ?').all(owner, after, limit) as unknown as Note[];
  }

  note(owner: number, id: number): Note | undefined {
    return this.#database.prepare('SELECT id, title, text, changed FROM notes WHERE owner = ? AND id = ?').get(owner, id) as Note | undefined;
  }

  changeNote(owner: number, id: number, change: { readonly title?: string | undefined; readonly text?: string | undefined }): Note | undefined {
    return this.#database
      .prepare('UPDATE notes SET title = coalesce(?, title), text = coalesce(?, text), changed = ? WHERE owner = ? AND id = ? RETURNING id, title, text, changed')
      .get(change.title ?? null, change.text ?? null, new Date().toISOString(), owner, id) as Note | undefined;
  }

  /** Whether there was such a note. */
  removeNote(owner: number, id: number): boolean {
    return this.#database.prepare('DELETE FROM notes WHERE owner = ? AND id = ?').run(owner, id).changes === 1;
  }

  close(): void {
    this.#database.close();
  }
}
