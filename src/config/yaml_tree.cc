#include "config/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <exception>
#include <sstream>  // yaml-cpp reads from a stream; this one is memory
#include <unordered_set>
#include <utility>

namespace weir::config {
namespace {

// Collects parser events into nodes. Depth is bounded here as well as in yaml-cpp (500): what is
// deeper than kYamlDepthMax is reported once and skipped.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view file, std::vector<ConfigError>& errors)
      : file_(file), errors_(errors) {}

  YamlNode Take() { return std::move(root_); }

  // A further document of the file is not kept.
  void IgnoreTheRest() { ignoring_ = true; }
  int documents() const { return documents_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    ++documents_;
    document_line_ = mark.line + 1;
  }
  void OnDocumentEnd() override {}
  int document_line() const { return document_line_; }
  bool depth_reported() const { return depth_reported_; }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Leaf(YamlKind::kNull, mark, "?", anchor, "");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    if (ignoring_) return;
    Report(mark, "an alias (*name) is not allowed here", "write the value out again");
    Leaf(YamlKind::kRefused, mark, "?", 0, "");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Leaf(YamlKind::kScalar, mark, tag, anchor, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlKind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlKind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  // A list or mapping that is not closed yet.
  struct Frame {
    YamlNode node;
    bool has_key = false;
    YamlEntry entry;  // whose value comes next
    std::unordered_set<std::string> keys;
  };

  void Report(const YAML::Mark& mark, std::string message, std::string fix) {
    AddError(errors_,
             {file_, mark.line + 1, mark.column + 1, "", std::move(message), std::move(fix)});
  }

  // Whether a node may be kept; counts it and looks at what every node has.
  bool Accept(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) {
      Report(mark, "an anchor (&name) is not allowed here", "remove it and write values out");
    }
    if (!tag.empty() && tag != "?" && tag != "!") {
      Report(mark, "a tag (!name) is not allowed here", "remove it; types come from the option");
    }
    if (++nodes_ <= kYamlNodesMax) return true;
    if (nodes_ == kYamlNodesMax + 1) {
      Report(mark, fmt::format("the file has more than {} values", kYamlNodesMax),
             "make it smaller; keys in large numbers are made through the admin API");
    }
    return false;
  }

  static YamlNode NodeAt(YamlKind kind, const YAML::Mark& mark) {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }

  void Leaf(YamlKind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            const std::string& value) {
    if (ignoring_ || skipped_depth_ > 0) return;
    const bool accepted = Accept(mark, tag, anchor);
    YamlNode node = NodeAt(accepted ? kind : YamlKind::kRefused, mark);
    if (accepted) node.text = value;
    Attach(std::move(node), mark);
  }

  void Open(YamlKind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (ignoring_) return;
    if (skipped_depth_ > 0 || frames_.size() >= kYamlDepthMax) {
      if (skipped_depth_++ == 0 && !std::exchange(depth_reported_, true)) {
        Report(mark, fmt::format("is nested deeper than {} levels", kYamlDepthMax),
               "no option is that deep; check the indentation and the brackets");
      }
      return;
    }
    const bool accepted = Accept(mark, tag, anchor);
    frames_.push_back({NodeAt(accepted ? kind : YamlKind::kRefused, mark), false, {}, {}});
    frames_.back().node.kind = kind;  // so that events find their place; dropped if not accepted
    if (!accepted) dropped_ = true;
  }

  void Close() {
    if (ignoring_) return;
    if (skipped_depth_ > 0) {
      if (--skipped_depth_ == 0) {
        Attach(NodeAt(YamlKind::kRefused, YAML::Mark()), YAML::Mark());
      }
      return;
    }
    YamlNode node = std::move(frames_.back().node);
    frames_.pop_back();
    if (dropped_) node.kind = YamlKind::kRefused;
    YAML::Mark mark;
    mark.line = node.line - 1;
    mark.column = node.column - 1;
    Attach(std::move(node), mark);
  }

  // Puts a finished node where it belongs: into the open list, or as key or value into the open
  // mapping.
  void Attach(YamlNode node, const YAML::Mark& mark) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == YamlKind::kList) {
      frame.node.items.push_back(std::move(node));
      return;
    }
    if (!frame.has_key) {
      frame.has_key = true;
      frame.entry = {};
      frame.entry.line = mark.line + 1;
      frame.entry.column = mark.column + 1;
      if (node.kind == YamlKind::kScalar && !node.text.empty()) {
        frame.entry.key = std::move(node.text);
      } else if (node.kind != YamlKind::kRefused) {
        Report(mark, "a key must be plain text", "write NAME: VALUE");
      }
      return;
    }
    frame.has_key = false;
    if (frame.entry.key.empty()) return;  // was reported
    if (!frame.keys.insert(frame.entry.key).second) {
      YAML::Mark at;
      at.line = frame.entry.line - 1;
      at.column = frame.entry.column - 1;
      Report(at, fmt::format("\"{:.64}\" is given twice", frame.entry.key), "keep one of the two");
      return;
    }
    if (node.kind == YamlKind::kNull) {  // the parser's place for nothing is the next thing
      node.line = frame.entry.line;
      node.column = frame.entry.column;
    }
    frame.entry.value = std::move(node);
    frame.node.entries.push_back(std::move(frame.entry));
  }

  std::string file_;
  std::vector<ConfigError>& errors_;
  YamlNode root_;
  std::vector<Frame> frames_;
  std::size_t nodes_ = 0;
  std::size_t skipped_depth_ = 0;
  bool depth_reported_ = false;
  bool dropped_ = false;  // too many nodes: nothing that is still open is complete
  bool ignoring_ = false;
  int documents_ = 0;
  int document_line_ = 0;
};

// The length of the UTF-8 character at `text`, or 0 if it is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{0};
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// Bytes that are no text: yaml-cpp guesses at encodings and passes NUL through, so they are looked
// for first.
bool IsText(std::string_view text, std::string_view file, std::vector<ConfigError>& errors) {
  int line = 1;
  int column = 1;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const bool control =
        (static_cast<std::uint8_t>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    const std::size_t length = Utf8Length(text.substr(i));
    if (control || length == 0) {
      AddError(errors, {std::string(file), line, column, "",
                        fmt::format("byte 0x{:02x} is not text", static_cast<std::uint8_t>(c)),
                        "save the file as plain UTF-8"});
      return false;
    }
    column = c == '\n' ? 1 : column + static_cast<int>(length);
    line += c == '\n' ? 1 : 0;
    i += length;
  }
  return true;
}

// The line of `text` with that number, from 1; empty if there is none.
std::string_view LineAt(std::string_view text, int line) {
  for (; line > 1; --line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// What to do about a line that is not YAML. Two mistakes are made by everyone once.
std::string FixOfLine(std::string_view line) {
  if (line.contains("${")) return "inside { } and [ ] put quotes around \"${NAME}\"";
  if (line.contains(" *")) return "put quotes around \"*\"";
  return "check the indentation, quotes and brackets at and above this line";
}

YamlNode Refused() {
  YamlNode node;
  node.kind = YamlKind::kRefused;
  return node;
}

}  // namespace

void AddError(std::vector<ConfigError>& errors, ConfigError error) {
  if (errors.size() < kConfigErrorsMax) {
    errors.push_back(std::move(error));
  } else if (errors.size() == kConfigErrorsMax) {
    // Line INT_MAX would sort last as well, but a reader would see it.
    errors.push_back(
        {std::move(error.file), 0, 0, "", "there are more errors", "mend the ones above first"});
  }
}

YamlNode ReadYaml(std::string_view text, std::string_view file_name,
                  std::vector<ConfigError>& errors, std::size_t bytes_max) {
  const std::string file(file_name);
  if (text.size() > bytes_max) {
    AddError(errors, {file, 0, 0, "", fmt::format("the file is larger than {} bytes", bytes_max),
                      "make it smaller; keys in large numbers are made through the admin API"});
    return Refused();
  }
  if (!IsText(text, file, errors)) return Refused();
  TreeBuilder builder(file, errors);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    YamlNode root = builder.Take();
    builder.IgnoreTheRest();
    if (builder.documents() > 0 && parser.HandleNextDocument(builder)) {
      AddError(errors, {file, builder.document_line(), 1, "", "a second document begins here",
                        "remove the line --- and what follows it"});
    }
    return root;
  } catch (const YAML::DeepRecursion& e) {
    // Deeper than kYamlDepthMax long before this, and reported then.
    if (!builder.depth_reported()) {
      AddError(errors, {file, e.mark.line + 1, e.mark.column + 1, "", "is nested too deep",
                        "check the indentation and the brackets"});
    }
  } catch (const YAML::Exception& e) {
    const int line = e.mark.is_null() ? 0 : e.mark.line + 1;
    const int column = e.mark.is_null() ? 0 : e.mark.column + 1;
    AddError(errors, {file, line, column, "", fmt::format("is not YAML: {}", e.msg),
                      FixOfLine(LineAt(text, line))});
  } catch (const std::exception& e) {
    AddError(errors, {file, 0, 0, "", fmt::format("cannot be read: {}", e.what()),
                      "check that the file is a YAML mapping"});
  }
  return Refused();
}

}  // namespace weir::config
