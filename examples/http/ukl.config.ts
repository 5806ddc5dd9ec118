import { defineConfig } from 'ukl';

export default defineConfig({
  name: 'http',
  sources: ['http.c'],
  ports: ['8080:80'],
});
