#include "dialect/usage_reader.h"

#include <algorithm>
#include <cstring>

#include "dialect/json_scan.h"

namespace weir::dialect {
namespace {

constexpr std::int64_t kBytesPerToken = 4;

std::int64_t CeilTokens(std::int64_t bytes) {
  return (bytes + kBytesPerToken - 1) / kBytesPerToken;
}

// The type of an event whose data begins with it, as every vendor writes it; else empty.
std::string_view LeadingType(std::string_view data) {
  constexpr std::string_view kHead = "{\"type\":\"";
  if (!data.starts_with(kHead)) return {};
  data.remove_prefix(kHead.size());
  const auto end = data.find('"');
  if (end == std::string_view::npos) return {};
  const std::string_view type = data.substr(0, end);
  return type.find('\\') == std::string_view::npos ? type : std::string_view();
}

// The length of the text `delta` of an event of Responses, when it is found and has no escapes.
// In JSON the bytes "delta":" with these quotes can only be a name and the begin of its value: in a
// string the quotes would have backslashes before them.
std::optional<std::size_t> PlainDeltaBytes(std::string_view data) {
  constexpr std::string_view kName = "\"delta\":\"";
  const void* const found = memmem(data.data(), data.size(), kName.data(), kName.size());
  if (found == nullptr) return std::nullopt;
  const char* const begin = static_cast<const char*>(found) + kName.size();
  const char* const end = data.data() + data.size();
  const char* const stop = FindQuoteOrBackslash(begin, end);
  if (stop == end || *stop != '"') return std::nullopt;
  return static_cast<std::size_t>(stop - begin);
}

UpstreamErrorText ErrorText(const JsonPathReader& reader) {
  UpstreamErrorText error;
  error.type = reader.Text(JsonField::kErrorType);
  error.code = reader.Text(JsonField::kErrorCode);
  error.message = reader.Text(JsonField::kErrorMessage);
  error.param = reader.Text(JsonField::kErrorParam);
  const auto number = [&reader](JsonField field) -> std::optional<std::int64_t> {
    const JsonCount& count = reader.findings().Count(field);
    if (!count.present) return std::nullopt;
    return count.value;
  };
  error.resets_in_seconds = number(JsonField::kResetsIn);
  error.resets_at = number(JsonField::kResetsAt);
  return error;
}

// The stretch to take out so that `member` and one comma beside it are gone.
Span WithComma(std::string_view data, Span member) {
  std::size_t end = member.at + member.length;
  std::size_t behind = end;
  while (behind < data.size() && IsJsonSpace(data[behind])) ++behind;
  if (behind < data.size() && data[behind] == ',') return {member.at, behind + 1 - member.at};
  std::size_t before = member.at;
  while (before > 0 && IsJsonSpace(data[before - 1])) --before;
  if (before > 0 && data[before - 1] == ',') return {before - 1, end - (before - 1)};
  return member;
}

}  // namespace

StreamMeter::StreamMeter(Dialect dialect, Options options)
    : dialect_(dialect), options_(options), reader_(EventPaths(dialect)) {}

EventVerdict StreamMeter::OnEvent(const SseEvent& event) {
  if (closed_) {
    // Whatever follows the end (a second terminal event, data after it) was never the reply.
    ++events_after_end_;
    return {};
  }
  if (!event.has_data) return {.bytes = event.raw};
  EventVerdict verdict;
  switch (dialect_) {
    case Dialect::kOpenAiResponses:
      verdict = OnResponsesEvent(event);
      break;
    case Dialect::kOpenAiChat:
      verdict = OnChatEvent(event);
      break;
    case Dialect::kAnthropicMessages:
      verdict = OnAnthropicEvent(event);
      break;
    case Dialect::kGeminiGenerate:
      verdict = OnGeminiEvent(event);
      break;
    case Dialect::kOpenAiTranscription:
      verdict = OnTranscriptEvent(event);
      break;
  }
  content_seen_ |= verdict.content;
  if (verdict.end != StreamEnd::kNone) end_ = verdict.end;
  closed_ |= verdict.terminal;
  return verdict;
}

bool StreamMeter::ReadData(std::string_view data) {
  reader_.Reset();
  reader_.Append(data);
  if (reader_.complete()) return true;
  ++malformed_events_;
  return false;
}

EventVerdict StreamMeter::Terminal(const SseEvent& event, StreamEnd end) {
  if (end == StreamEnd::kFailed || end == StreamEnd::kError) error_ = ErrorText(reader_);
  return {.bytes = event.raw, .content = false, .end = end, .terminal = true};
}

void StreamMeter::TakeModel() {
  const auto model = reader_.Text(JsonField::kModel);
  if (served_model_.empty() && !model.empty()) served_model_ = model;
}

// response.created repeats the caller's instructions and tools, often tens of kilobytes. Only the
// model is wanted of it, and it stands near the front.
void StreamMeter::ReadModelOnly(std::string_view data) {
  constexpr std::size_t kSlice = 1024;
  constexpr std::size_t kAtMost = 64 << 10;
  reader_.Reset();
  for (std::size_t at = 0; at < std::min(data.size(), kAtMost) && served_model_.empty();
       at += kSlice) {
    reader_.Append(data.substr(at, kSlice));
    TakeModel();
  }
}

// Types beginning with "response." that carry neither usage nor generated text that did not come
// before in a delta are passed without being read.
EventVerdict StreamMeter::OnResponsesEvent(const SseEvent& event) {
  std::string_view type = LeadingType(event.data);
  bool whole = true;
  bool read = false;
  const auto read_data = [&] {
    if (read) return;
    read = true;
    whole = ReadData(event.data);
  };
  if (type.empty()) {
    read_data();
    type = reader_.Text(JsonField::kType);
    if (type.empty()) type = event.type;
  }
  EventVerdict verdict{.bytes = event.raw};
  if (type.ends_with(".delta")) {
    verdict.content = true;
    const auto plain = read ? std::nullopt : PlainDeltaBytes(event.data);
    if (plain && event.data.ends_with('}')) {
      delta_bytes_ += static_cast<std::int64_t>(*plain);
      return verdict;
    }
    read_data();
    delta_bytes_ += reader_.findings().text_bytes;
    return verdict;
  }
  const StreamEnd end = type == "response.completed"    ? StreamEnd::kCompleted
                        : type == "response.incomplete" ? StreamEnd::kIncomplete
                        : type == "response.failed"     ? StreamEnd::kFailed
                        : type == "error"               ? StreamEnd::kError
                                                        : StreamEnd::kNone;
  if (end != StreamEnd::kNone) {
    read_data();
    if (whole) tally_.Add(reader_.findings());
    whole_bytes_ = std::max(whole_bytes_, reader_.findings().text_bytes);
    // The terminal event has the last word on which model served.
    if (const auto model = reader_.Text(JsonField::kModel); !model.empty()) served_model_ = model;
    response_id_ = reader_.Text(JsonField::kResponseId);
    return Terminal(event, end);
  }
  if (type == "response.created" || type == "response.in_progress" || type == "response.queued") {
    if (served_model_.empty()) ReadModelOnly(event.data);
    return verdict;
  }
  if (type == "response.output_item.done") {
    // Codex needs no deltas, so there may be none.
    if (delta_bytes_ == 0) {
      read_data();
      whole_bytes_ += reader_.findings().text_bytes;
    }
    verdict.content = true;
    return verdict;
  }
  if (type.starts_with("response.")) {
    verdict.content = true;
    return verdict;
  }
  // Image streams (image_generation.completed) carry usage in types of their own; so may what
  // vendors invent.
  read_data();
  if (whole) tally_.Add(reader_.findings());
  TakeModel();
  if (reader_.findings().has_error) return Terminal(event, StreamEnd::kError);
  verdict.content = reader_.findings().has_content;
  return verdict;
}

EventVerdict StreamMeter::OnChatEvent(const SseEvent& event) {
  std::string_view data = event.data;
  while (!data.empty() && IsJsonSpace(data.back())) data.remove_suffix(1);
  if (data == "[DONE]") return Terminal(event, StreamEnd::kCompleted);
  const bool whole = ReadData(data);
  const JsonFindings& found = reader_.findings();
  delta_bytes_ += found.text_bytes;
  EventVerdict verdict{.bytes = event.raw, .content = found.has_content};
  if (!whole) return verdict;
  if (found.has_usage) tally_.Add(found);
  TakeModel();
  if (found.has_error) return Terminal(event, StreamEnd::kError);
  // Some vendors send usage with every chunk; the one without choices is the last.
  verdict.last = options_.hold_usage && found.has_usage && !found.has_choice;
  if (options_.strip_usage && found.usage_member.length != 0) {
    // Clients that did not ask for usage index choices[0] of every chunk.
    verdict.bytes = found.has_usage && !found.has_choice ? std::string_view()
                                                         : WithoutUsage(event, found.usage_member);
  }
  return verdict;
}

// message_start has the input and a first output figure; message_delta repeats them, cumulative.
EventVerdict StreamMeter::OnAnthropicEvent(const SseEvent& event) {
  std::string_view type = LeadingType(event.data);
  EventVerdict verdict{.bytes = event.raw};
  if (type == "content_block_stop" || type == "ping") {
    verdict.content = type == "content_block_stop";
    return verdict;
  }
  const bool whole = ReadData(event.data);
  const JsonFindings& found = reader_.findings();
  if (type.empty()) type = reader_.Text(JsonField::kType);
  if (type.empty()) type = event.type;
  delta_bytes_ += found.text_bytes;
  if (whole) tally_.Add(found);
  TakeModel();
  if (type == "message_stop") return Terminal(event, StreamEnd::kCompleted);
  if (type == "error") return Terminal(event, StreamEnd::kError);
  verdict.content = type.starts_with("content_block_");
  verdict.last = options_.hold_usage && type == "message_delta";
  return verdict;
}

EventVerdict StreamMeter::OnGeminiEvent(const SseEvent& event) {
  const bool whole = ReadData(event.data);
  const JsonFindings& found = reader_.findings();
  delta_bytes_ += found.text_bytes;
  EventVerdict verdict{.bytes = event.raw, .content = found.has_content};
  if (!whole) return verdict;
  tally_.Add(found);
  TakeModel();
  if (found.has_error) return Terminal(event, StreamEnd::kError);
  if (found.has_finish) verdict.end = StreamEnd::kCompleted;
  verdict.last = options_.hold_usage && found.has_finish;
  return verdict;
}

// transcript.text.delta and .segment, then .done with the whole text and the usage; some servers
// send [DONE] behind it as chat does, OpenAI's page shows none.
EventVerdict StreamMeter::OnTranscriptEvent(const SseEvent& event) {
  std::string_view data = event.data;
  while (!data.empty() && IsJsonSpace(data.back())) data.remove_suffix(1);
  if (data == "[DONE]") return Terminal(event, StreamEnd::kCompleted);
  EventVerdict verdict{.bytes = event.raw};
  if (end_ == StreamEnd::kCompleted) {
    verdict.last = true;
    return verdict;
  }
  const bool whole = ReadData(data);
  const JsonFindings& found = reader_.findings();
  std::string_view type = reader_.Text(JsonField::kType);
  if (type.empty()) type = event.type;
  verdict.content = found.has_content;
  if (type.ends_with(".delta")) {
    delta_bytes_ += found.text_bytes;
  } else if (type.ends_with(".done")) {
    whole_bytes_ = std::max(whole_bytes_, found.text_bytes);
  } else {
    whole_bytes_ += found.text_bytes;
  }
  if (!whole) return verdict;
  tally_.Add(found);
  TakeModel();
  if (found.has_error || type == "error") return Terminal(event, StreamEnd::kError);
  if (type == "transcript.text.done") {
    // Silence has an empty text, and is a reply all the same.
    verdict.content = true;
    verdict.end = StreamEnd::kCompleted;
    verdict.last = true;
  }
  return verdict;
}

std::string_view StreamMeter::WithoutUsage(const SseEvent& event, Span member) {
  const Span cut = WithComma(event.data, member);
  scratch_.clear();
  if (event.data_in_raw) {
    const std::size_t from = event.data_at + cut.at;
    scratch_.append(event.raw, 0, from);
    scratch_.append(event.raw, from + cut.length);
    return scratch_;
  }
  // Data over several lines, which no known vendor sends: written anew.
  if (!event.type.empty()) scratch_.append("event: ").append(event.type).append("\n");
  scratch_ += "data: ";
  for (std::size_t at = 0; at < event.data.size(); ++at) {
    if (at >= cut.at && at < cut.at + cut.length) continue;
    scratch_ += event.data[at];
    if (event.data[at] == '\n') scratch_ += "data: ";
  }
  scratch_ += "\n\n";
  return scratch_;
}

Usage StreamMeter::usage() const { return tally_.ToUsage(dialect_); }

bool StreamMeter::inconsistent() const { return tally_.Inconsistent(dialect_); }

std::int64_t StreamMeter::observed_output_bytes() const {
  return delta_bytes_ != 0 ? delta_bytes_ : whole_bytes_;
}

std::int64_t StreamMeter::EstimatedOutputTokens() const {
  return CeilTokens(observed_output_bytes());
}

JsonMeter::JsonMeter(Dialect dialect) : dialect_(dialect), reader_(ReplyPaths(dialect)) {}

void JsonMeter::Append(std::string_view bytes) { reader_.Append(bytes); }

Usage JsonMeter::usage() const {
  UsageTally tally;
  tally.Add(reader_.findings());
  return tally.ToUsage(dialect_);
}

bool JsonMeter::inconsistent() const {
  UsageTally tally;
  tally.Add(reader_.findings());
  return tally.Inconsistent(dialect_);
}

bool JsonMeter::complete() const { return reader_.complete(); }

std::int64_t JsonMeter::observed_output_bytes() const { return reader_.findings().text_bytes; }

std::int64_t JsonMeter::EstimatedOutputTokens() const {
  return CeilTokens(observed_output_bytes());
}

std::string_view JsonMeter::served_model() const { return reader_.Text(JsonField::kModel); }

std::string_view JsonMeter::response_id() const { return reader_.Text(JsonField::kResponseId); }

std::string_view JsonMeter::status() const { return reader_.Text(JsonField::kStatus); }

UpstreamErrorText JsonMeter::error() const {
  return reader_.findings().has_error ? ErrorText(reader_) : UpstreamErrorText{};
}

}  // namespace weir::dialect
