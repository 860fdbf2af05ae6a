-- byhand reads a map of texts where Redis has no cmsgpack, as the demo's embedded one.
local function byhand(packed)
  local map, name, at = {}, nil, 4
  while at <= #packed do
    local head, a, b, c, d = string.byte(packed, at, at + 4)
    local size
    if head == 0xda then
      size, at = a * 256 + b, at + 3
    elseif head == 0xdb then
      size, at = ((a * 256 + b) * 256 + c) * 256 + d, at + 5
    else
      size, at = head - 0xa0, at + 1
    end
    local text = string.sub(packed, at, at + size - 1)
    at = at + size
    if name then map[name] = text end
    name = not name and text or nil
  end
  return map
end
