// SPDX-License-Identifier: MIT
import { defineFunction } from 'ukl';

export default defineFunction({ memory: '256M', timeout: '5s' }, (request) => new Response(`Hello from ${new URL(request.url).pathname}\n`));
