// SPDX-License-Identifier: MIT
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadProject, orderOf, type Project } from '../../src/compose/file.js';
import { guestOf } from '../../src/compose/up.js';
import { Switch, serveSwitch } from '../../src/detached/switch.js';
import { listen } from '../../src/lib/listen.js';

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-compose-'));
});
afterEach(() => rm(work, { recursive: true }));

const yaml = async (text: string): Promise<string> => {
  await writeFile(join(work, 'ukl.compose.yaml'), text);
  return work;
};

describe('a compose file', () => {
  test('in YAML', async () => {
    const project = await loadProject(
      await yaml("name: shop\nservices:\n  web: { target: ./web, ports: ['8080:80'], dependsOn: [db] }\n  db: { target: ./db, memory: 64M }\n"),
    );
    expect(project).toMatchObject({ name: 'shop', directory: work, services: { web: { ports: ['8080:80'] }, db: { memory: '64M' } } });
    expect(orderOf(project.services)).toEqual(['db', 'web']);
  });

  test('in TypeScript, with the name of its directory', async () => {
    await writeFile(
      join(work, 'ukl.compose.ts'),
      "import { defineCompose } from 'ukl';\nexport default defineCompose({ services: { one: { target: 'x.c' } } });\n",
    );
    const project = await loadProject(work);
    expect(project.name).toMatch(/^ukl-compose-/);
    expect(project.services.one).toEqual({ target: 'x.c', dependsOn: [] });
  });

  test.each([
    ['a key that is none', 'services: { web: { target: x, port: [] } }', /port: did you mean 'ports'/],
    ['a port that is none', "services: { web: { target: x, ports: ['eighty'] } }", /services\.web\.ports\[0\]/],
    ['a service without a target', 'services: { web: {} }', /services\.web\.target/],
    ['no YAML', 'services: {', /could not load/],
    ['a check less often than a timer can', "services: { web: { target: x, health: { test: 'tcp:80', interval: 3000000 } } }", /at most 2000000 seconds/],
    ['a network of its own', 'services: { web: { target: x, net: user } }', /Unrecognized key: "net"/],
  ])('%s', async (_, text, message) => {
    const error = await loadProject(await yaml(text)).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'UKL_CONFIG' });
    expect(`${(error as Error).message}\n${(error as { details?: string }).details ?? ''}`).toMatch(message);
  });

  test('services that wait for each other, or for one that is not there', async () => {
    await expect(loadProject(await yaml('services: { a: { target: x, dependsOn: [b] }, b: { target: x, dependsOn: [a] } }'))).rejects.toThrow(
      'services wait for each other: a -> b -> a',
    );
    await expect(loadProject(await yaml('services: { web: { target: x, dependsOn: [cuonter] }, counter: { target: x } }'))).rejects.toMatchObject({
      hint: "did you mean 'counter'?",
    });
    // What each object has is no service.
    await expect(loadProject(await yaml('services: { web: { target: x, dependsOn: [constructor] } }'))).rejects.toThrow(
      "'web' depends on 'constructor', which is no service",
    );
  });

  test('a directory without one', async () => {
    await expect(loadProject(work)).rejects.toThrow(/has no ukl.compose.ts or ukl.compose.yaml/);
    await expect(loadProject(join(work, 'no-such.yaml'))).rejects.toMatchObject({ code: 'UKL_CONFIG' });
  });
});

test('no two services are called the same', () => {
  const project = (name: string): Project => ({ name, directory: '/', services: {} });
  expect(guestOf(project('a-b'), 'c')).not.toBe(guestOf(project('a'), 'b-c'));
});

describe('the switch', () => {
  const frame = (to: number, from: number, text: string): Buffer => {
    const body = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, to]), Buffer.from([2, 0, 0, 0, 0, from]), Buffer.from([8, 0]), Buffer.from(text)]);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    return Buffer.concat([head, body]);
  };
  const broadcast = (from: number, text: string): Buffer => {
    const made = frame(0, from, text);
    made.fill(0xff, 4, 10);
    return made;
  };

  /** Three ports, and what each has heard. */
  async function ports(): Promise<{ sockets: Socket[]; heard: string[]; close(): void }> {
    const path = join(work, 'switch');
    const all = new Switch();
    const server = await listen(path);
    server.on('connection', (socket: Socket) => all.connect(socket));
    const heard = ['', '', ''];
    const sockets = heard.map((_, index) => {
      const socket = connect(path);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        heard[index] += chunk.toString('latin1').replace(/[^a-z]/g, '');
      });
      return socket;
    });
    await expect.poll(() => all.ports).toBe(3);
    return {
      sockets,
      heard,
      close: () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    };
  }

  test('floods what it does not know, and learns who is where', async () => {
    const { sockets, heard, close } = await ports();
    sockets[0]?.write(broadcast(1, 'all'));
    await expect.poll(() => heard).toEqual(['', 'all', 'all']);
    sockets[1]?.write(frame(1, 2, 'one'));
    await expect.poll(() => heard).toEqual(['one', 'all', 'all']);
    // In two pieces, and two at once.
    const both = Buffer.concat([frame(2, 1, 'two'), frame(9, 1, 'unknown')]);
    sockets[0]?.write(both.subarray(0, 7));
    sockets[0]?.write(both.subarray(7));
    await expect.poll(() => heard).toEqual(['one', 'alltwounknown', 'allunknown']);
    close();
  });

  test('connects the VMMs whose paths supervisors say, and another switch those of one that is gone', async () => {
    const path = join(work, 'switch');
    const heard = ['', ''];
    const current: (Socket | undefined)[] = [];
    const vmms = heard.map((_, index) => {
      const server = createServer((socket) => {
        current[index] = socket;
        socket.on('error', () => {});
        socket.on('data', (chunk: Buffer) => {
          heard[index] += chunk.toString('latin1').replace(/[^a-z]/g, '');
        });
      });
      return { server, path: join(work, `vmm${index}`) };
    });
    // The second one listens late.
    await listen(vmms[0]?.path ?? '', vmms[0]?.server);
    for (const word of ['one', 'two']) {
      const server = await serveSwitch(path, () => {});
      const supervisors = vmms.map((vmm) => {
        const supervisor = connect(path).on('error', () => {});
        supervisor.write(`${vmm.path}\n`);
        return supervisor;
      });
      if (word === 'one') await listen(vmms[1]?.path ?? '', vmms[1]?.server);
      await expect.poll(() => current.filter((socket) => socket?.writable).length).toBe(2);
      current[0]?.write(broadcast(1, word));
      await expect.poll(() => heard[1]).toContain(word);
      // Who is not wanted any more is disconnected.
      const left = current.map((socket) => once(socket as Socket, 'close'));
      for (const supervisor of supervisors) supervisor.destroy();
      server.close();
      await Promise.all(left);
    }
    for (const { server } of vmms) server.close();
  });

  test('disconnects who sends what is no frame, and no other', async () => {
    const { sockets, heard, close } = await ports();
    const gone = once(sockets[0] as Socket, 'close');
    sockets[0]?.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
    await gone;
    sockets[1]?.write(broadcast(2, 'still'));
    await expect.poll(() => heard[2]).toBe('still');
    close();
  });
});
