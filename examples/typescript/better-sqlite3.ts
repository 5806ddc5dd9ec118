// SPDX-License-Identifier: MIT
/** A native addon: compiled for the guest's Node.js, loaded into ring 0. */
import Database from 'better-sqlite3';

const database = new Database(':memory:');
database.exec('CREATE TABLE numbers (n INTEGER NOT NULL)');
const insert = database.prepare('INSERT INTO numbers (n) VALUES (?)');
database.transaction((count: number) => {
  for (let n = 1; n <= count; n++) insert.run(n);
})(10_000);
console.log(database.prepare('SELECT sum(n) AS sum, sqlite_version() >= \'3\' AS modern FROM numbers').get());
