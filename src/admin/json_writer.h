// Writes JSON in the order it is told to. Texts are cut and escaped by telemetry::AppendJsonText,
// so a hostile model name stays a string, here as in the log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/money.h"
#include "base/time.h"

namespace weir::admin {

class JsonWriter {
 public:
  JsonWriter& Open(char bracket);  // '{' or '['
  JsonWriter& Open(std::string_view name, char bracket);
  JsonWriter& Close(char bracket);  // '}' or ']'

  // Members of an object.
  JsonWriter& Text(std::string_view name, std::string_view value);
  JsonWriter& TextOrNull(std::string_view name, std::string_view value);  // empty: null
  JsonWriter& Number(std::string_view name, std::int64_t value);
  JsonWriter& Flag(std::string_view name, bool value);
  JsonWriter& Null(std::string_view name);
  // Amounts are decimal texts: exact in every client, whatever it thinks a number is.
  JsonWriter& Usd(std::string_view name, std::optional<NanoUsd> value);
  JsonWriter& Time(std::string_view name, std::optional<Instant> value);
  // `json` is a value already written as JSON, which the caller knows to be right.
  JsonWriter& Json(std::string_view name, std::string_view json);
  JsonWriter& Texts(std::string_view name, std::span<const std::string> values);

  // An element of a list.
  JsonWriter& Element(std::string_view value);

  std::string Take() { return std::move(out_); }

 private:
  void Name(std::string_view name);
  void Comma();
  std::string out_;
};

}  // namespace weir::admin
