// node-redis and ioredis against a running cluster: node_cluster.js CLIENT HOST:PORT PROTOCOL MODE NODES.
//
// CLIENT is "redis" or "ioredis". MODE "all" does what users do, on keys of every slot of a cluster of so many NODES;
// "load" writes and reads until standard input ends, then looks for every key. No error may reach the caller, none is
// retried here.
"use strict";

const assert = require("node:assert");

const SLOTS = 16384;
const BATCH = 512;

// CRC-16/XMODEM, as Redis's slots are made.
function slotOf(key) {
    let crc = 0;
    for (const byte of Buffer.from(key)) {
        crc ^= byte << 8;
        for (let bit = 0; bit < 8; bit += 1) {
            crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
        }
    }
    return crc % SLOTS;
}

function oneKeyPerSlot() {
    const found = new Map();
    for (let number = 0; found.size < SLOTS; number += 1) {
        const key = `k${number}`;
        if (!found.has(slotOf(key))) {
            found.set(slotOf(key), key);
        }
    }
    return [...found.values()];
}

// What the two clients call differently.
async function nodeRedis(host, port, protocol) {
    const { createCluster } = require("redis");
    const client = createCluster({ rootNodes: [{ url: `redis://${host}:${port}` }], defaults: { RESP: protocol } });
    client.on("error", (error) => {
        throw error;
    });
    await client.connect();
    const each = (call) => Promise.all(client.masters.map(async (node) => call(await client.nodeClient(node))));
    return {
        get: (key) => client.get(key),
        set: (key, value) => client.set(key, value),
        multi: () => client.multi().set("{t}1", "1").incr("{t}1").get("{t}1").exec(),
        sizes: () => each((node) => node.dbSize()),
        flush: () => each((node) => node.flushAll()),
        scan: async () => {
            const keys = [];
            await each(async (node) => {
                for await (const some of node.scanIterator({ MATCH: "k*", COUNT: 1000 })) {
                    keys.push(...[some].flat());
                }
            });
            return keys;
        },
        close: () => (client.close ? client.close() : client.quit()),
    };
}

async function ioredis(host, port, protocol) {
    const { Cluster } = require("ioredis");
    const client = new Cluster([{ host, port }], { redisOptions: { protocol } });
    const each = (call) => Promise.all(client.nodes("master").map(call));
    await client.cluster("INFO");
    return {
        get: (key) => client.get(key),
        set: (key, value) => client.set(key, value),
        multi: async () => {
            const replies = await client.multi().set("{t}1", "1").incr("{t}1").get("{t}1").exec();
            return replies.map(([error, reply]) => {
                assert.equal(error, null);
                return reply;
            });
        },
        sizes: () => each((node) => node.dbsize()),
        flush: () => each((node) => node.flushall()),
        scan: async () => {
            const keys = [];
            await each(async (node) => {
                for await (const some of node.scanStream({ match: "k*", count: 1000 })) {
                    keys.push(...some);
                }
            });
            return keys;
        },
        close: () => client.quit(),
    };
}

async function fill(client, keys) {
    for (let start = 0; start < keys.length; start += BATCH) {
        const batch = keys.slice(start, start + BATCH);
        const replies = await Promise.all(batch.map((key) => client.set(key, `v${key}`)));
        assert(replies.every((reply) => reply === "OK"));
    }
}

async function check(client, keys) {
    for (let start = 0; start < keys.length; start += BATCH) {
        const batch = keys.slice(start, start + BATCH);
        const replies = await Promise.all(batch.map((key) => client.get(key)));
        assert.deepEqual(replies, batch.map((key) => `v${key}`));
    }
}

async function everything(client, nodes) {
    const keys = oneKeyPerSlot();
    await client.flush();
    await fill(client, keys);
    await check(client, keys);
    for (let index = 0; index < keys.length; index += 50) {
        assert.equal(await client.get(keys[index]), `v${keys[index]}`);
    }
    const sizes = await client.sizes();
    assert.equal(sizes.length, nodes);
    assert.equal(sizes.reduce((sum, size) => sum + size, 0), SLOTS);
    const seen = new Set(await client.scan());
    assert.equal(seen.size, SLOTS);
    assert.deepEqual(await client.multi(), ["OK", 2, "2"]);
    await client.flush();
    assert((await client.sizes()).every((size) => size === 0));
}

async function load(client) {
    const keys = oneKeyPerSlot();
    await fill(client, keys);
    console.log("filled");
    let ended = false;
    process.stdin.resume();
    process.stdin.on("end", () => {
        ended = true;
    });
    let number = 0;
    let rounds = 0;
    while (!ended) {
        rounds += 1;
        for (let count = 0; count < 200; count += 1) {
            number = (number + 7919) % SLOTS;
            assert.equal(await client.get(keys[number]), `v${keys[number]}`);
            assert.equal(await client.set(keys[number], `v${keys[number]}`), "OK");
        }
        const start = number % (SLOTS - BATCH);
        await check(client, keys.slice(start, start + BATCH));
        await fill(client, keys.slice(start, start + BATCH));
    }
    await check(client, keys);
    console.log("rounds", rounds);
}

async function main() {
    const [name, address, protocol, mode, nodes] = process.argv.slice(2);
    const [host, port] = address.split(":");
    const connect = name === "ioredis" ? ioredis : nodeRedis;
    const client = await connect(host, Number(port), Number(protocol));
    await (mode === "load" ? load(client) : everything(client, Number(nodes)));
    await client.close();
    console.log(`${name}: ok`, require(`${name}/package.json`).version, `RESP${protocol}`);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
