// SPDX-License-Identifier: MIT
import { defineCompose } from 'ukl';

/** A page that counts its visits, and the database that remembers them: two guests on a network of their own. */
export default defineCompose({
  services: {
    counter: {
      target: '../redis',
      args: ['--protected-mode', 'no', '--dir', '/data', '--appendonly', 'yes'],
      volumes: ['visits:/data'],
      health: { test: 'tcp:6379', interval: 0.5 },
    },
    web: {
      target: 'web.ts',
      ports: ['8080:8080'],
      dependsOn: ['counter'],
      restart: 'on-failure',
    },
  },
});
