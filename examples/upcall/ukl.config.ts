import { defineConfig } from 'ukl';

export default defineConfig({
  name: 'upcall',
  sources: ['http.c'],
  shortcuts: ['upcall'],
  express: true,
  ports: ['8080:80'],
});
