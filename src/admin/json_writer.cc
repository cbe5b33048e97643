#include "admin/json_writer.h"

#include "telemetry/log.h"

namespace weir::admin {

namespace {
// Nothing we store is longer; what comes from outside is cut here at the latest.
constexpr std::size_t kBytesMax = 4096;
}  // namespace

void JsonWriter::Comma() {
  if (!out_.empty() && out_.back() != '{' && out_.back() != '[' && out_.back() != ':') out_ += ',';
}

void JsonWriter::Name(std::string_view name) {
  Comma();
  telemetry::AppendJsonText(name, kBytesMax, out_);
  out_ += ':';
}

JsonWriter& JsonWriter::Open(char bracket) {
  Comma();
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::Open(std::string_view name, char bracket) {
  Name(name);
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::Text(std::string_view name, std::string_view value) {
  Name(name);
  telemetry::AppendJsonText(value, kBytesMax, out_);
  return *this;
}

JsonWriter& JsonWriter::TextOrNull(std::string_view name, std::string_view value) {
  return value.empty() ? Null(name) : Text(name, value);
}

JsonWriter& JsonWriter::Number(std::string_view name, std::int64_t value) {
  Name(name);
  out_ += std::to_string(value);
  return *this;
}

JsonWriter& JsonWriter::Flag(std::string_view name, bool value) {
  Name(name);
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::Null(std::string_view name) {
  Name(name);
  out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::Usd(std::string_view name, std::optional<NanoUsd> value) {
  return value ? Text(name, FormatUsd(*value)) : Null(name);
}

JsonWriter& JsonWriter::Time(std::string_view name, std::optional<Instant> value) {
  return value ? Text(name, telemetry::FormatInstant(*value)) : Null(name);
}

JsonWriter& JsonWriter::Json(std::string_view name, std::string_view json) {
  Name(name);
  out_ += json;
  return *this;
}

JsonWriter& JsonWriter::Texts(std::string_view name, std::span<const std::string> values) {
  Open(name, '[');
  for (const std::string& value : values) Element(value);
  return Close(']');
}

JsonWriter& JsonWriter::Element(std::string_view value) {
  Comma();
  telemetry::AppendJsonText(value, kBytesMax, out_);
  return *this;
}

}  // namespace weir::admin
