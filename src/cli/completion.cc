#include "cli/completion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace {

// A subcommand by the words that lead to it: "keys create".
struct Node {
  std::string path;
  std::string help;
  const CLI::App* app;
};

void Walk(const CLI::App& app, const std::string& path, std::vector<Node>& nodes) {
  nodes.push_back({path, app.get_description(), &app});
  // The depth is that of the program's own command tree.
  for (const CLI::App* child : app.get_subcommands({})) {
    Walk(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), nodes);
  }
}

struct OptionWord {
  std::string word;  // "--config"
  std::string help;
  bool takes_value = false;
  bool file = false;
  bool directory = false;
};

std::vector<OptionWord> OptionsOf(const CLI::App& app) {
  std::vector<OptionWord> words;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    for (const std::string& name : option->get_lnames()) {
      const std::string type = option->get_type_name();
      words.push_back({.word = "--" + name,
                       .help = option->get_description(),
                       .takes_value = option->get_items_expected_max() > 0,
                       .file = type == "FILE",
                       .directory = type == "DIR"});
    }
  }
  return words;
}

// What may stand where a subcommand or an option is expected: children, options, and the choices of
// a positional argument.
std::string WordsOf(const CLI::App& app) {
  std::string words;
  for (const CLI::App* child : app.get_subcommands({})) words += child->get_name() + " ";
  for (const OptionWord& option : OptionsOf(app)) words += option.word + " ";
  if (!words.empty()) words.pop_back();
  return words;
}

// Help texts inside single quotes of a shell.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    }
  }
  return out + "'";
}

// The words of the line that lead to the subcommand being completed, in bash and zsh alike.
std::string PathLoop(const std::vector<Node>& nodes) {
  std::string known;
  for (const Node& node : nodes) {
    if (node.path.empty()) continue;
    known += (known.empty() ? "" : "|") + Quoted(node.path);
  }
  return known;
}

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  std::vector<Node> nodes;
  Walk(app, "", nodes);
  std::string out = R"(# bash completion of weir; use it with: source <(weir completion bash)
_weir() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path= word next i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    next=${path:+$path }$word
    case $next in
)";
  fmt::format_to(std::back_inserter(out), "      {}) path=$next ;;\n    esac\n  done\n",
                 PathLoop(nodes));
  std::string files;
  std::string directories;
  for (const Node& node : nodes) {
    for (const OptionWord& option : OptionsOf(*node.app)) {
      std::string& list = option.directory ? directories : files;
      if ((option.file || option.directory) &&
          ("|" + list + "|").find("|" + option.word + "|") == std::string::npos) {
        list += (list.empty() ? "" : "|") + option.word;
      }
    }
  }
  out += "  case $previous in\n";
  if (!files.empty()) {
    fmt::format_to(std::back_inserter(out),
                   "    {}) mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n",
                   files);
  }
  if (!directories.empty()) {
    fmt::format_to(std::back_inserter(out),
                   "    {}) mapfile -t COMPREPLY < <(compgen -d -- \"$current\"); return ;;\n",
                   directories);
  }
  out += "  esac\n  case $path in\n";
  for (const Node& node : nodes) {
    const bool files_too = node.path == "validate";
    const std::string shells = node.path == "completion"  ? "bash zsh fish "
                               : node.path == "reference" ? "options errors metrics openapi "
                                                          : "";
    fmt::format_to(std::back_inserter(out),
                   "    {}) mapfile -t COMPREPLY < <(compgen {}-W {} -- \"$current\") ;;\n",
                   node.path.empty() ? "''" : Quoted(node.path), files_too ? "-f " : "",
                   Quoted(shells + WordsOf(*node.app)));
  }
  out += "  esac\n}\ncomplete -F _weir weir\n";
  return out;
}

std::string ZshCompletion(const CLI::App& app) {
  std::vector<Node> nodes;
  Walk(app, "", nodes);
  std::string out = R"(#compdef weir
# zsh completion of weir; use it with: source <(weir completion zsh)
_weir() {
  local path_so_far= next word i
  local -a candidates
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    next=${path_so_far:+$path_so_far }$word
    case $next in
)";
  fmt::format_to(std::back_inserter(out), "      {}) path_so_far=$next ;;\n    esac\n  done\n",
                 PathLoop(nodes));
  out += "  case $path_so_far in\n";
  for (const Node& node : nodes) {
    std::string candidates;
    const auto add = [&](std::string_view word, std::string_view help) {
      // A colon ends the word and begins its description.
      candidates += " " + Quoted(fmt::format("{}:{}", word, help));
    };
    for (const CLI::App* child : node.app->get_subcommands({})) {
      add(child->get_name(), child->get_description());
    }
    if (node.path == "completion") {
      for (const std::string_view shell : {"bash", "zsh", "fish"}) add(shell, "a shell");
    }
    if (node.path == "reference") {
      for (const std::string_view page : {"options", "errors", "metrics", "openapi"}) {
        add(page, "a page");
      }
    }
    for (const OptionWord& option : OptionsOf(*node.app)) add(option.word, option.help);
    fmt::format_to(std::back_inserter(out), "    {}) candidates=({}) ;;\n",
                   node.path.empty() ? "''" : Quoted(node.path), candidates);
  }
  out += R"(  esac
  _describe -o 'weir' candidates
  _files
}
if [ "$funcstack[1]" = _weir ]; then _weir "$@"; else compdef _weir weir; fi
)";
  return out;
}

std::string FishCompletion(const CLI::App& app) {
  std::vector<Node> nodes;
  Walk(app, "", nodes);
  std::string out = "# fish completion of weir; use it with: weir completion fish | source\n";
  for (const Node& node : nodes) {
    std::string condition = "__fish_use_subcommand";
    if (!node.path.empty()) {
      condition.clear();
      std::string_view rest = node.path;
      while (!rest.empty()) {
        const std::size_t space = std::min(rest.find(' '), rest.size());
        condition += (condition.empty() ? "" : "; and ") +
                     fmt::format("__fish_seen_subcommand_from {}", rest.substr(0, space));
        rest.remove_prefix(std::min(space + 1, rest.size()));
      }
    }
    for (const CLI::App* child : node.app->get_subcommands({})) {
      fmt::format_to(std::back_inserter(out), "complete -c weir -f -n {} -a {} -d {}\n",
                     Quoted(condition), child->get_name(), Quoted(child->get_description()));
    }
    for (const OptionWord& option : OptionsOf(*node.app)) {
      fmt::format_to(std::back_inserter(out), "complete -c weir -n {} -l {}{} -d {}\n",
                     Quoted(condition), option.word.substr(2),
                     option.file || option.directory ? " -r -F"
                     : option.takes_value            ? " -x"
                                                     : " -f",
                     Quoted(option.help));
    }
  }
  out += "complete -c weir -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n";
  out +=
      "complete -c weir -f -n '__fish_seen_subcommand_from reference' -a 'options errors metrics "
      "openapi'\n";
  return out;
}

void AddCompletion(CLI::App& app, int& exit_code) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print a completion script: source <(weir completion bash)");
  command->add_option("shell", *shell, "Which shell")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &app, &exit_code] {
    exit_code = kExitDone;
    const std::string text = *shell == "bash"  ? BashCompletion(app)
                             : *shell == "zsh" ? ZshCompletion(app)
                                               : FishCompletion(app);
    std::fwrite(text.data(), 1, text.size(), stdout);
  });
}

}  // namespace weir::cli
