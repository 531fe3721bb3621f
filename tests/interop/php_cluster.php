<?php
// phpredis against a running cluster: php_cluster.php phpredis HOST:PORT. It does what users do, on keys of every slot.
//
// Any exception or wrong reply ends it with an error; nothing is retried here.
declare(strict_types=1);

const SLOTS = 16384;

function want(bool $condition, string $what): void
{
    if (!$condition) {
        throw new RuntimeException($what);
    }
}

// CRC-16/XMODEM, as Redis's slots are made.
function slot_of(string $key): int
{
    $crc = 0;
    foreach (str_split($key) as $byte) {
        $crc ^= ord($byte) << 8;
        for ($bit = 0; $bit < 8; $bit++) {
            $crc = $crc & 0x8000 ? (($crc << 1) ^ 0x1021) & 0xffff : ($crc << 1) & 0xffff;
        }
    }
    return $crc % SLOTS;
}

function one_key_per_slot(): array
{
    $found = [];
    for ($number = 0; count($found) < SLOTS; $number++) {
        $found[slot_of("k$number")] ??= "k$number";
    }
    return array_values($found);
}

function fill(RedisCluster $client, array $keys): void
{
    foreach ($keys as $key) {
        want($client->set($key, "v$key"), "SET $key");
    }
}

function check(RedisCluster $client, array $keys): void
{
    foreach ($keys as $key) {
        want($client->get($key) === "v$key", "GET $key");
    }
}

function everything(RedisCluster $client): void
{
    $keys = one_key_per_slot();
    foreach ($client->_masters() as $node) {
        want($client->flushAll($node), 'FLUSHALL');
    }
    fill($client, $keys);
    check($client, $keys);
    $few = array_slice($keys, 0, 500);
    want($client->mget($few) === array_map(fn($key) => "v$key", $few), 'MGET');
    want(array_sum(array_map(fn($node) => $client->dbSize($node), $client->_masters())) === SLOTS, 'DBSIZE');
    $seen = [];
    foreach ($client->_masters() as $node) {
        $cursor = null;
        do {
            foreach ($client->scan($cursor, $node, 'k*', 1000) ?: [] as $key) {
                $seen[$key] = true;
            }
        } while ($cursor > 0);
    }
    want(count($seen) === SLOTS, 'SCAN');
    want($client->multi()->set('{t}1', '1')->incr('{t}1')->get('{t}1')->exec() === [true, 2, '2'], 'MULTI');
    foreach ($client->_masters() as $node) {
        want($client->flushAll($node) && $client->dbSize($node) === 0, 'FLUSHALL');
    }
}

$client = new RedisCluster(null, [$argv[2]], 5, 5);
everything($client);
$client->close();
echo 'phpredis: ok ', phpversion('redis'), "\n";
