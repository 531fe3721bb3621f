// node-redis and ioredis against one running server, where it is told of things or has them done at once: pub/sub,
// scripts, functions, the client-side cache. node_events.js CLIENT PORT PROTOCOL; CLIENT is "redis" or "ioredis". Prints
// one line and exits 0, or fails. Whoever waits for a message waits by a limit.
"use strict";

const assert = require("node:assert");

const LIMIT_MS = 20000;
const ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
const LIBRARY = `#!lua name=shelf
    redis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
    redis.register_function{function_name = 'look', flags = {'no-writes'},
        callback = function(keys) return redis.call('GET', keys[1]) end}`;

async function eventually(what, holds) {
    const deadline = Date.now() + LIMIT_MS;
    while (!(await holds())) {
        assert(Date.now() < deadline, what);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

function fail(error) {
    console.error(error);
    process.exit(1);
}

async function nodeRedis(port, protocol) {
    const { createClient, defineScript } = require("redis");
    const add = defineScript({
        NUMBER_OF_KEYS: 1,
        SCRIPT: ADD,
        parseCommand(parser, key, number) {
            parser.pushKey(key);
            parser.push(String(number));
        },
        transformReply: (reply) => reply,
    });
    const options = { url: `redis://127.0.0.1:${port}`, RESP: protocol };
    const client = createClient({ ...options, scripts: { add } });
    const listener = client.duplicate();
    for (const each of [client, listener]) {
        each.on("error", fail);
        await each.connect();
    }
    await client.flushAll();

    const said = [];
    const note = (message, channel) => said.push([channel, message]);
    await listener.subscribe(["news", "sport"], note);
    await listener.pSubscribe("w*r", note);
    await listener.sSubscribe("shard", note);
    assert.equal(await client.publish("news", "hello"), 1);
    assert.equal(await client.publish("weather", "rain"), 1);
    assert.equal(await client.sPublish("shard", "here"), 1);
    assert.equal(await client.publish("none", "x"), 0);
    await eventually("all has come", () => said.length === 3);
    assert.deepEqual(said.sort(), [["news", "hello"], ["shard", "here"], ["weather", "rain"]]);
    said.length = 0;
    await Promise.all(Array.from({ length: 500 }, (_, number) => client.publish("news", String(number))));
    await eventually("all has come", () => said.length === 500);
    said.forEach(([, message], number) => assert.equal(message, String(number)));
    assert.deepEqual((await client.pubSubChannels()).sort(), ["news", "sport"]);
    await listener.unsubscribe();
    await listener.pUnsubscribe();
    await listener.sUnsubscribe();
    assert.equal(await client.publish("news", "nobody"), 0);
    assert.equal(await listener.ping(), "PONG");

    // The client sends EVALSHA, and EVAL when it hears that the script is not there.
    await client.scriptFlush();
    assert.equal(await client.add("n", 5), 5);
    assert.deepEqual(await Promise.all([client.add("n", 1), client.add("n", 1)]), [6, 7]);
    assert.deepEqual(await client.scriptExists(add.SHA1), [1]);
    const replies = await client.multi().add("n", 1).get("n").exec();
    assert.deepEqual(replies, [8, "8"]);
    assert.deepEqual(await client.eval("return {1, 'two', {3}}"), [1, "two", [3]]);
    await assert.rejects(client.eval("return redis.error_reply('MINE is bad')"), /MINE is bad/);

    assert.equal(await client.functionLoad(LIBRARY, { REPLACE: true }), "shelf");
    assert.equal(await client.fCall("put", { keys: ["title"], arguments: ["Emma"] }), "OK");
    assert.equal(await client.fCallRo("look", { keys: ["title"] }), "Emma");
    await assert.rejects(client.fCallRo("put", { keys: ["title"], arguments: ["x"] }));
    assert.equal((await client.functionList()).length, 1);
    assert.equal(await client.functionDelete("shelf"), "OK");

    if (protocol === 3) {
        await nodeCache(createClient, options, client);
    }
    await Promise.all([client, listener].map((each) => each.close()));
    return "node-redis";
}

async function nodeCache(createClient, options, client) {
    const cached = createClient({ ...options, clientSideCache: { ttl: 0, maxEntries: 0 } });
    cached.on("error", fail);
    await cached.connect();
    const calls = async () => Number(/cmdstat_get:calls=(\d+)/.exec(await client.info("commandstats"))[1]);
    await client.set("c1", "one");
    assert.equal(await cached.get("c1"), "one");
    const before = await calls();
    for (let number = 0; number < 100; number += 1) {
        assert.equal(await cached.get("c1"), "one");
    }
    assert.equal(await calls(), before, "it is answered by the cache");
    await client.set("c1", "changed");
    await eventually("another's change is seen", async () => (await cached.get("c1")) === "changed");
    await client.set("c2", "short", { expiration: { type: "PX", value: 100 } });
    await cached.get("c2");
    await eventually("it expires", async () => (await cached.get("c2")) === null);
    await client.flushAll();
    await eventually("all is gone", async () => (await cached.get("c1")) === null);
    await cached.close();
}

async function ioredis(port) {
    const Redis = require("ioredis");
    const client = new Redis({ port: Number(port) });
    const listener = client.duplicate();
    client.on("error", fail);
    listener.on("error", fail);
    await client.flushall();
    const said = [];
    listener.on("message", (channel, message) => said.push([channel, message]));
    listener.on("pmessage", (pattern, channel, message) => said.push([pattern, channel, message]));
    assert.equal(await listener.subscribe("news", "sport"), 2);
    assert.equal(await listener.psubscribe("w*r"), 3);
    assert.equal(await client.publish("news", "hello"), 1);
    assert.equal(await client.publish("weather", "rain"), 1);
    await eventually("both have come", () => said.length === 2);
    assert.deepEqual(said, [["news", "hello"], ["w*r", "weather", "rain"]]);
    assert.equal(await listener.unsubscribe("news", "sport"), 1);
    assert.equal(await listener.punsubscribe("w*r"), 0);

    client.defineCommand("add", { numberOfKeys: 1, lua: ADD });
    assert.equal(await client.add("n", 5), 5);
    await client.script("FLUSH");
    assert.equal(await client.add("n", 2), 7, "it is loaded again");
    const results = await client.pipeline().add("n", 1).add("n", 1).get("n").exec();
    assert.deepEqual(results.map(([, value]) => value), [8, 9, "9"]);
    const exec = await client.multi().add("n", 1).get("n").exec();
    assert.deepEqual(exec.map(([, value]) => value), [10, "10"]);
    assert.equal(await client.function("LOAD", "REPLACE", LIBRARY), "shelf");
    assert.equal(await client.fcall("put", 1, "title", "Emma"), "OK");
    assert.equal(await client.fcall_ro("look", 1, "title"), "Emma");
    await client.function("DELETE", "shelf");
    await Promise.all([client.quit(), listener.quit()]);
    return "ioredis";
}

async function main() {
    const [, , kind, port, protocol] = process.argv;
    const name = kind === "redis" ? await nodeRedis(port, Number(protocol)) : await ioredis(port);
    console.log(`${name}: ok RESP${protocol}`);
}

main().catch(fail);
