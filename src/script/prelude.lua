-- The part of the sandbox that must be Lua: what calls functions that may raise errors. It is loaded with the scripts'
-- own environment, uses nothing of it, and gets all that it needs as arguments. Functions of it that scripts see must not
-- hand out anything that is not theirs: no table behind a read-only one, no interpreter function that is kept from them.
local raw_pcall, raw_xpcall, raw_resume, raw_insert, backing, caught_text, caught_value, error, type,
  select, tonumber, concat, loadstring, gsub_text, gsub_steps, next,
  raw_unpack = ...

-- What pcall gives: an error table becomes its text. After a stop nothing comes back.
local function after_pcall(ok, ...)
  if ok then return ok, ... end
  return false, caught_text((...))
end

local function after_resume(ok, ...)
  if ok then return ok, ... end
  return false, caught_value((...))
end

local function pcall(f, ...)
  return after_pcall(raw_pcall(f, ...))
end

local function xpcall(f, ...)
  if select('#', ...) == 0 then
    error("bad argument #2 to 'xpcall' (value expected)", 2)
  end
  local handler = ...
  return raw_xpcall(f, function(e) return handler(caught_value(e)) end)
end

local function resume(...)
  return after_resume(raw_resume(...))
end

-- Moving elements is C code that no hook interrupts: places far before the first would keep it busy for ever.
local far = -1000000

local function insert(t, ...)
  if type(t) ~= 'table' then
    error("bad argument #1 to 'insert' (table expected, got " .. (t == nil and 'nil' or type(t)) .. ")", 2)
  end
  if backing[t] then
    error('Attempt to modify a readonly table', 0)
  end
  local count = select('#', ...)
  if count == 1 then
    return raw_insert(t, (...))
  elseif count ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  end
  local place, value = ...
  place = tonumber(place)
  if not place then
    error("bad argument #2 to 'insert' (number expected, got " .. type((...)) .. ")", 2)
  elseif not (place > far) then
    error("bad argument #2 to 'insert' (position out of bounds)", 2)
  end
  return raw_insert(t, place, value)
end

-- C counts results in 32 bits; beyond 8,000 it finds itself that there is no room.
local results_max, int_max = 8000, 2147483647

local function unpack(t, i, j)
  if type(t) ~= 'table' then
    error("bad argument #1 to 'unpack' (table expected, got " .. (t == nil and 'no value' or type(t)) .. ")", 2)
  end
  local first, last = tonumber(i == nil and 1 or i), tonumber(j == nil and #t or j)
  if not first or not last then
    local place, got = first and 3 or 2, type(first and j or i)
    error("bad argument #" .. place .. " to 'unpack' (number expected, got " .. got .. ")", 2)
  end
  if first > last then return end
  if not (last - first < results_max and first > -int_max and last < int_max) then
    error('too many results to unpack', 2)
  end
  return raw_unpack(t, first, last)
end

-- A chunk that comes in pieces.
local function pieces(f)
  local parts, count = {}, 0
  while true do
    local piece = f()
    if piece == nil or piece == '' then return concat(parts) end
    if type(piece) ~= 'string' and type(piece) ~= 'number' then
      error('reader function must return a string', 0)
    end
    count = count + 1
    parts[count] = piece
  end
end

local function load(...)
  local f, name = ...
  if type(f) ~= 'function' then
    local got = select('#', ...) == 0 and 'no value' or type(f)
    error("bad argument #1 to 'load' (function expected, got " .. got .. ")", 2)
  end
  local ok, source = raw_pcall(pieces, f)
  if not ok then return nil, caught_value(source) end
  return loadstring(source, name or '=(load)')
end

-- Replacements that are made by a function, or are looked up: what it raises must pass through as it is.
local function gsub(s, p, r, ...)
  local is_function = type(r) == 'function'
  if not is_function and type(r) ~= 'table' then
    return gsub_text(s, p, r, ...)
  end
  local step, finish = gsub_steps(s, p, r, ...)
  local made
  local function make(first, ...)
    if first == nil then return false end
    if is_function then made = r(first, ...) else made = r[first] end
    return true
  end
  while make(step(made)) do end
  return finish()
end

-- The keys of a table and, if asked for, the values, in a row: what is to be written as a map or a set.
local function flatten(t, with_values)
  local row, count = {}, 0
  for k, v in next, t do
    count = count + 1
    row[count] = k
    if with_values then
      count = count + 1
      row[count] = v
    end
  end
  return row, count
end

return pcall, xpcall, resume, insert, load, gsub, unpack, flatten
