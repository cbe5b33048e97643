#include "cli/running_journal.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "store/journal_chain.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

std::unexpected<Error> NotASlice() {
  return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
              "the gateway does not answer as this program expects; use the weir that it runs");
}

std::optional<std::uint64_t> Position(const json::object& object, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr || !value->is_int64() || value->get_int64() < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value->get_int64());
}

bool ReadChain(const json::object& object, store::Chain& chain) {
  const json::value* const value = object.if_contains("chain");
  if (value == nullptr || !value->is_string() || value->get_string().size() != 2 * chain.size()) {
    return false;
  }
  const std::string_view text = value->get_string();
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const char* const at = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, chain.at(i), 16);
    if (error != std::errc() || end != at + 2) return false;
  }
  return true;
}

std::optional<std::vector<std::uint8_t>> FromBase64(std::string_view text) {
  if (text.size() % 4 != 0 || text.size() > INT32_MAX) return std::nullopt;
  std::vector<std::uint8_t> bytes(text.size() / 4 * 3);
  const int size =
      EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  // The library counts what the padding stands for as zeros.
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

}  // namespace

Result<store::JournalSlice> ParseSlice(const json::value& body) {
  const json::object* const object = body.if_object();
  if (object == nullptr) return NotASlice();
  store::JournalSlice slice;
  const auto end = Position(*object, "position");
  const json::value* const batches = object->if_contains("batches");
  if (!end || !ReadChain(*object, slice.tail.chain) || batches == nullptr || !batches->is_array()) {
    return NotASlice();
  }
  slice.tail.position = *end;
  for (const json::value& value : batches->get_array()) {
    const json::object* const entry = value.if_object();
    if (entry == nullptr) return NotASlice();
    store::JournalSlice::Batch batch;
    const auto first = Position(*entry, "first_position");
    const auto count = Position(*entry, "count");
    const json::value* const records = entry->if_contains("records");
    if (!first || !count || *count == 0 || *count > UINT32_MAX || records == nullptr ||
        !records->is_string() || !ReadChain(*entry, batch.chain)) {
      return NotASlice();
    }
    auto bytes = FromBase64(records->get_string());
    if (!bytes) return NotASlice();
    batch.first_position = *first;
    batch.count = static_cast<std::uint32_t>(*count);
    batch.records = std::move(*bytes);
    slice.batches.push_back(std::move(batch));
  }
  return slice;
}

Result<void> RunningJournal::Reach() const {
  const auto anchor = TryAsk(connection_, "GET", "/admin/v1/ledger/anchor");
  if (!anchor) return std::unexpected(anchor.error());
  return {};
}

Result<void> RunningJournal::ReadAll(const Visit& visit) {
  store::ChainReader reader(&see_chain_);
  std::optional<std::uint64_t> end;
  do {
    const std::uint64_t after = reader.tail().position;
    const auto body =
        TryAsk(connection_, "GET", "/admin/v1/ledger/journal?after=" + std::to_string(after));
    if (!body) return std::unexpected(body.error());
    const auto slice = ParseSlice(*body);
    if (!slice) return std::unexpected(slice.error());
    if (!end) end = slice->tail.position;
    for (const store::JournalSlice::Batch& batch : slice->batches) {
      if (batch.first_position > *end) break;  // written since the reading began
      if (auto taken = reader.Take({.first_position = batch.first_position,
                                    .count = batch.count,
                                    .records = batch.records},
                                   batch.chain, visit);
          !taken) {
        return taken;
      }
    }
    if (reader.tail().position == after && after < *end) {
      return reader.Altered("the gateway says that its ledger goes on to position " +
                            std::to_string(*end) + ", and shows nothing behind " +
                            std::to_string(after));
    }
  } while (reader.tail().position < *end);
  tail_ = reader.tail();
  return {};
}

}  // namespace weir::cli
