"""The yardstick: the least a Python program can do to put 2,000 rows through a model and count right answers."""

import asyncio
import json
import sys

import aiohttp


async def main(path: str, url: str, concurrency: int) -> None:
    rows = [json.loads(line) for line in open(path)]
    right = 0
    todo = iter(rows)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            nonlocal right
            for row in todo:
                messages = [
                    {"role": "system", "content": "Answer with one word."},
                    {"role": "user", "content": f"Question: {row['question']}"},
                ]
                async with session.post(url, json={"model": "bench", "messages": messages}) as reply:
                    data = await reply.json()
                right += data["choices"][0]["message"]["content"].strip() == row["expected"]

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    print(right, len(rows))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
