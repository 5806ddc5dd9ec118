// SPDX-License-Identifier: MIT
import express from 'express';

const app = express();
app.use(express.json());

app.get('/', (_request, response) => {
  response.send('Hello from Express');
});

app.post('/sum', (request, response) => {
  const numbers = request.body as readonly number[];
  response.json({ sum: numbers.reduce((sum, number) => sum + number, 0) });
});

app.listen(8080, () => console.log('listening'));
