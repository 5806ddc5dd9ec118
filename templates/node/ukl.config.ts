import { defineConfig } from 'ukl';

export default defineConfig({
  entry: 'server.ts',
  runtime: 'node@24',
  ports: ['8080:8080'],
});
