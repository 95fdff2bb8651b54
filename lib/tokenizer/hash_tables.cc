#include "lib/tokenizer/hash_tables.h"

namespace ftd {
namespace {

// Returns the smallest power of two that keeps the load at or below two thirds, with a slot free: a
// search ends at a free slot.
size_t SlotsFor(size_t count) {
  size_t slots = 2;
  while (2 * slots < 3 * (count + 1)) slots *= 2;
  return slots;
}

}  // namespace

// The keys' bytes are kept in one string, so that a slot has a fixed size.
void StringTable::Reserve(size_t count, size_t bytes) {
  slots_.assign(SlotsFor(count), Slot{});
  mask_ = slots_.size() - 1;
  bytes_.clear();
  bytes_.reserve(bytes);
}

// Linear probing. The lower bits of the hash choose the slot, the upper 32 are compared before the
// bytes are, which are elsewhere in memory.
size_t StringTable::Probe(std::string_view key, uint64_t hash) const {
  for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
    const Slot& slot = slots_[i];
    if (slot.id < 0) return i;
    if (slot.tag == static_cast<uint32_t>(hash >> 32) &&
        std::string_view(bytes_).substr(slot.offset, slot.size) == key) {
      return i;
    }
  }
}

// Requires: no more keys than were reserved. The table never grows.
void StringTable::Insert(std::string_view key, int32_t id) {
  const uint64_t hash = HashBytes(key);
  Slot& slot = slots_[Probe(key, hash)];
  if (slot.id < 0) {
    slot = {static_cast<uint32_t>(hash >> 32), id, static_cast<uint32_t>(bytes_.size()),
            static_cast<uint32_t>(key.size())};
    bytes_.append(key);
  } else {
    slot.id = id;
  }
}

int32_t StringTable::Find(std::string_view key, uint64_t hash) const {
  if (slots_.empty()) return -1;
  return slots_[Probe(key, hash)].id;
}

void MergeTable::Reserve(size_t count) {
  slots_.assign(SlotsFor(count), Slot{});
  mask_ = slots_.size() - 1;
}

// The key is the pair of ids in one number, so no bytes are compared.
void MergeTable::Insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = Key(left, right);
  size_t i = Index(key);
  while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & mask_;
  slots_[i] = {key, merge};
}

}  // namespace ftd
