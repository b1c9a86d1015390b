// Translates a kernel of a PTX module to a C++ function that runs one thread of the grid, in terms of
// instructions.h. Follows NVIDIA's "PTX ISA", version 9.0. Supports what nvcc emits for the kernels of this
// repository and of candle; throws an `Error` that quotes any other instruction.
#pragma once

#include <string.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ptx {

struct Parameter {
    size_t offset, size;
};

// A kernel of a module: its body, parameters and launch bounds.
struct Entry {
    std::string name, body;
    std::vector<Parameter> parameters;
    std::map<std::string, size_t> parameter_at; // by name
    size_t parameter_bytes = 0;
    unsigned max_threads = 1024;
};

struct Module {
    std::map<std::string, Entry> entries;
    std::map<std::string, std::string> globals;              // name -> declaration in C++
    std::string dynamic_shared;                              // name, empty if none
    std::map<std::string, std::pair<size_t, size_t>> shared; // name -> (alignment, bytes)
};

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// ---------------------------------------------------------------------------------------------------------
// Text

inline bool is_word(char c) { return isalnum(static_cast<unsigned char>(c)) || strchr("_$%.", c); }

inline std::string trimmed(const std::string& s) {
    const size_t a = s.find_first_not_of(" \t\r\n"), b = s.find_last_not_of(" \t\r\n");
    return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

inline std::string without_comments(const std::string& s) {
    std::string out;
    for (size_t i = 0; i < s.size(); ++i) {
        if (s.compare(i, 2, "//") == 0) {
            while (i < s.size() && s[i] != '\n') ++i;
            out += '\n';
        } else if (s.compare(i, 2, "/*") == 0) {
            i = s.find("*/", i);
            if (i == std::string::npos) throw Error("unterminated comment");
            ++i;
        } else {
            out += s[i];
        }
    }
    return out;
}

inline std::vector<std::string> words(const std::string& s, const char* separators = " \t\r\n") {
    std::vector<std::string> out;
    for (size_t at = 0;;) {
        at = s.find_first_not_of(separators, at);
        if (at == std::string::npos) return out;
        const size_t end = std::min(s.find_first_of(separators, at), s.size());
        out.push_back(s.substr(at, end - at));
        at = end;
    }
}

// Splits at the commas that are outside {} and [].
inline std::vector<std::string> operands(const std::string& s) {
    std::vector<std::string> out;
    std::string part;
    int depth = 0;
    for (char c : s) {
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (c == ',' && depth == 0) {
            out.push_back(trimmed(part)), part.clear();
        } else {
            part += c;
        }
    }
    if (!trimmed(part).empty()) out.push_back(trimmed(part));
    return out;
}

inline size_t size_of_type(const std::string& type) {
    if (type == "pred") return 1;
    const size_t digits = type.find_first_of("0123456789");
    if (digits == std::string::npos) throw Error("unknown type: " + type);
    return std::stoul(type.substr(digits)) / 8;
}

// ---------------------------------------------------------------------------------------------------------
// Modules

// A declaration such as `.align 4 .b8 name[24]`.
struct Variable {
    std::string name;
    size_t alignment = 1, bytes = 0;
};

inline Variable variable(const std::string& text) {
    Variable v;
    std::string type;
    const std::vector<std::string> all = words(text);
    for (size_t i = 0; i < all.size(); ++i) {
        if (all[i] == ".align") {
            v.alignment = std::stoul(all.at(++i));
        } else if (all[i][0] == '.') {
            type = all[i].substr(1);
        } else {
            const size_t bracket = all[i].find('[');
            v.name = all[i].substr(0, bracket);
            size_t count = 1;
            if (bracket != std::string::npos) {
                const std::string number = all[i].substr(bracket + 1, all[i].find(']') - bracket - 1);
                count = number.empty() ? 0 : std::stoul(number);
            }
            v.bytes = count * size_of_type(type);
            break;
        }
    }
    v.alignment = std::max(v.alignment, v.bytes == 0 ? 1 : size_of_type(type));
    return v;
}

// Declares a variable in global memory as a C++ array of the same bytes.
inline std::string global_array(const std::string& declaration, const Variable& v) {
    const size_t open = declaration.find('{');
    const bool bytes =
        declaration.find(".b8 ") != std::string::npos || declaration.find(".u8 ") != std::string::npos;
    const size_t element = bytes ? 1 : v.alignment;
    std::string out = "alignas(16) static " + std::string(element == 1   ? "uint8_t"
                                                          : element == 2 ? "uint16_t"
                                                          : element == 4 ? "uint32_t"
                                                                         : "uint64_t");
    out += " g_" + v.name + "[" + std::to_string(v.bytes / element) + "]";
    if (open != std::string::npos) {
        out += " = " + declaration.substr(open);
    }
    return out + ";\n";
}

inline std::string cpp_name(std::string name) {
    for (char& c : name)
        if (c == '$' || c == '%' || c == '.') c = '_';
    return name;
}

// Returns the position after the block that opens at `at`.
inline size_t after_block(const std::string& text, size_t at) {
    int depth = 0;
    do {
        depth += (text[at] == '{') - (text[at] == '}');
        ++at;
    } while (depth > 0 && at < text.size());
    return at;
}

inline Module parse(const std::string& source) {
    const std::string text = without_comments(source);
    Module module;
    for (size_t at = 0; at < text.size();) {
        at = text.find_first_not_of(" \t\r\n", at);
        if (at == std::string::npos) break;
        // The end of a declaration, or the start of a kernel's body.
        const size_t end = text.find_first_of(";{", at);
        if (end == std::string::npos) break;
        std::string head = trimmed(text.substr(at, end - at));
        for (const char* line : {".version", ".target", ".address_size"}) {
            if (head.rfind(line, 0) == 0) {
                const size_t next = text.find('\n', at);
                at = next;
                head.clear();
                break;
            }
        }
        if (head.empty()) {
            if (text[at] == ';' || text[at] == '{') throw Error("expected a declaration: " + text.substr(at, 60));
            continue;
        }
        if (head.find(".entry") != std::string::npos) {
            Entry entry;
            const size_t open = head.find('('), close = head.rfind(')');
            const bool has_parameters = open != std::string::npos;
            entry.name = words(head.substr(0, open)).back();
            if (has_parameters) {
                for (const std::string& one : operands(head.substr(open + 1, close - open - 1))) {
                    const Variable v = variable(trimmed(one.substr(one.find(".param") + 6)));
                    const size_t offset =
                        (entry.parameter_bytes + v.alignment - 1) / v.alignment * v.alignment;
                    entry.parameters.push_back({offset, v.bytes});
                    entry.parameter_at[v.name] = offset;
                    entry.parameter_bytes = offset + v.bytes;
                }
                const std::string directives = head.substr(close + 1);
                const size_t max = directives.find(".maxntid");
                if (max != std::string::npos) {
                    entry.max_threads = 1;
                    for (const std::string& n :
                         operands(directives.substr(max + 8, directives.find('\n', max) - max - 8)))
                        entry.max_threads *= std::stoul(n);
                }
            }
            at = after_block(text, end);
            entry.body = text.substr(end + 1, at - end - 2);
            module.entries[entry.name] = entry;
            continue;
        }
        if (head.find(".func") != std::string::npos) { // skipped: kernels that call functions are not supported
            at = text[end] == '{' ? after_block(text, end) : end + 1;
            continue;
        }
        const size_t semicolon = text.find(';', at);
        const std::string whole = trimmed(text.substr(at, semicolon - at));
        at = semicolon + 1;
        if (head.find(".shared") != std::string::npos) {
            const Variable v = variable(trimmed(head.substr(head.find(".shared") + 7)));
            if (head.find(".extern") != std::string::npos) {
                module.dynamic_shared = v.name;
            } else {
                module.shared[v.name] = {v.alignment, v.bytes};
            }
        } else if (head.find(".global") != std::string::npos || head.find(".const") != std::string::npos) {
            const size_t space = head.find(".global") != std::string::npos ? head.find(".global") + 7
                                                                           : head.find(".const") + 6;
            Variable v = variable(trimmed(head.substr(space)));
            const std::string name = v.name;
            v.name = cpp_name(name);
            module.globals[name] = global_array(whole, v);
        }
    }
    return module;
}

// ---------------------------------------------------------------------------------------------------------
// Instructions

class Translator {
  public:
    Translator(const Module& module, const Entry& entry) : module(module), entry(entry) {}

    std::string translate() {
        for (const auto& [name, v] : module.shared)
            if (uses(name)) place_shared(name, v.first, v.second);
        statements(entry.body);
        std::ostringstream all;
        all << "#include \"instructions.h\"\nusing namespace ptx;\n";
        for (const std::string& name : globals) all << module.globals.at(name);
        all << "constexpr unsigned STATIC_SHARED_BYTES = " << (shared_bytes + 15) / 16 * 16 << ";\n"
            << "static void kernel([[maybe_unused]] const Thread& t) {\n[[maybe_unused]] uint32_t carry = "
               "0;\n"
            << out.str() << "}\n"
            << "extern \"C\" size_t courtside_static_shared() { return STATIC_SHARED_BYTES; }\n"
            << "extern \"C\" void courtside_launch(const Launch& launch) {\n"
            << (together ? "    run_together" : "    run_apart") << "(launch, kernel);\n}\n";
        return all.str();
    }

  private:
    const Module& module;
    const Entry& entry;
    std::ostringstream out;
    std::map<std::string, size_t> shared_at;
    std::set<std::string> locals, globals;
    size_t shared_bytes = 0;
    bool together = false; // the kernel has barriers or warp-wide instructions

    bool uses(const std::string& name) const { return entry.body.find(name) != std::string::npos; }

    void place_shared(const std::string& name, size_t alignment, size_t bytes) {
        shared_bytes = (shared_bytes + alignment - 1) / alignment * alignment;
        shared_at[name] = shared_bytes;
        shared_bytes += bytes;
    }

    // Translates a body: declarations, labels, nested blocks and instructions.
    void statements(const std::string& body) {
        std::string text;
        int vector = 0;
        for (size_t i = 0; i < body.size(); ++i) {
            const char c = body[i];
            const bool fresh = trimmed(text).empty();
            if (c == '{' && fresh) {
                out << "{\n", text.clear();
            } else if (c == '}' && fresh && vector == 0) {
                out << "}\n", text.clear();
            } else if (c == ';') {
                if (!fresh) statement(trimmed(text));
                text.clear();
            } else if (c == ':' && vector == 0 && trimmed(text).find_first_of(" \t\n") == std::string::npos) {
                out << cpp_name(trimmed(text)) << ":;\n", text.clear();
            } else {
                vector += (c == '{') - (c == '}');
                text += c;
            }
        }
    }

    [[noreturn]] void unknown(const std::string& what) const {
        throw Error(entry.name + ": not supported by the emulator: " + what);
    }

    void statement(std::string s) {
        if (s[0] == '.') return declaration(s);
        std::string guard;
        if (s[0] == '@') {
            const size_t end = s.find_first_of(" \t\n");
            guard = s.substr(1, end - 1);
            s = trimmed(s.substr(end));
            out << "if (" << (guard[0] == '!' ? "!" + name(guard.substr(1)) : name(guard)) << ") ";
        }
        const size_t end = std::min(s.find_first_of(" \t\n"), s.size());
        std::vector<std::string> op = words(s.substr(0, end), ".");
        const std::string rest = trimmed(s.substr(end));
        out << "{ ";
        instruction(s, op, rest);
        out << " }\n";
    }

    void declaration(const std::string& s) {
        const std::vector<std::string> all = words(s);
        if (all[0] == ".reg") {
            const std::string type = all.at(1).substr(1);
            static const std::map<std::string, std::string> types = {
                {"pred", "bool"},    {"b8", "uint8_t"},   {"u8", "uint8_t"},   {"b16", "uint16_t"},
                {"u16", "uint16_t"}, {"s16", "uint16_t"}, {"f16", "uint16_t"}, {"b32", "uint32_t"},
                {"u32", "uint32_t"}, {"s32", "uint32_t"}, {"b64", "uint64_t"}, {"u64", "uint64_t"},
                {"s64", "uint64_t"}, {"f32", "float"},    {"f64", "double"},
            };
            const auto cpp = types.find(type);
            if (cpp == types.end()) unknown(s);
            const size_t at = s.find(all[1]) + all[1].size();
            for (const std::string& one : operands(s.substr(at))) {
                const size_t angle = one.find('<');
                if (angle == std::string::npos) {
                    out << "[[maybe_unused]] " << cpp->second << " " << name(one) << ";\n";
                    continue;
                }
                const size_t n = std::stoul(one.substr(angle + 1));
                for (size_t i = 0; i < n; ++i)
                    out << "[[maybe_unused]] " << cpp->second << " "
                        << name(one.substr(0, angle) + std::to_string(i)) << ";\n";
            }
        } else if (all[0] == ".shared") {
            const Variable v = variable(trimmed(s.substr(7)));
            place_shared(v.name, v.alignment, v.bytes);
        } else if (all[0] == ".local") {
            const Variable v = variable(trimmed(s.substr(6)));
            locals.insert(v.name);
            out << "alignas(16) [[maybe_unused]] unsigned char l_" << cpp_name(v.name) << "[" << v.bytes
                << "];\n";
        } else if (all[0] != ".param" && all[0] != ".pragma" && all[0] != ".loc") {
            unknown(s);
        }
    }

    static std::string name(const std::string& register_) {
        return "r_" + cpp_name(register_[0] == '%' ? register_.substr(1) : "0" + register_);
    }

    static std::string type(const std::string& t) {
        static const std::map<std::string, std::string> types = {
            {"pred", "bool"},    {"b8", "uint8_t"},   {"u8", "uint8_t"},   {"s8", "int8_t"},
            {"b16", "uint16_t"}, {"u16", "uint16_t"}, {"s16", "int16_t"},  {"b32", "uint32_t"},
            {"u32", "uint32_t"}, {"s32", "int32_t"},  {"b64", "uint64_t"}, {"u64", "uint64_t"},
            {"s64", "int64_t"},  {"f32", "float"},    {"f64", "double"},   {"bf16", "Bf16"},
        };
        const auto found = types.find(t);
        if (found == types.end()) throw Error("unsupported type ." + t);
        return found->second;
    }

    // C++ expression for the value of an operand, read as type `as`.
    std::string read(const std::string& operand, const std::string& as) {
        const std::string cpp = type(as);
        static const std::map<std::string, std::string> special = {
            {"%tid.x", "t.thread.x"},    {"%tid.y", "t.thread.y"},    {"%tid.z", "t.thread.z"},
            {"%ctaid.x", "t.block.x"},   {"%ctaid.y", "t.block.y"},   {"%ctaid.z", "t.block.z"},
            {"%ntid.x", "t.threads.x"},  {"%ntid.y", "t.threads.y"},  {"%ntid.z", "t.threads.z"},
            {"%nctaid.x", "t.blocks.x"}, {"%nctaid.y", "t.blocks.y"}, {"%nctaid.z", "t.blocks.z"},
            {"%laneid", "t.lane()"},
        };
        if (const auto found = special.find(operand); found != special.end())
            return "get<" + cpp + ">(" + found->second + ")";
        if (operand[0] == '%') return "get<" + cpp + ">(" + name(operand) + ")";
        if (operand.rfind("0f", 0) == 0 || operand.rfind("0F", 0) == 0)
            return "get<" + cpp + ">(uint32_t(0x" + operand.substr(2) + "u))";
        if (operand.rfind("0d", 0) == 0 || operand.rfind("0D", 0) == 0)
            return "get<" + cpp + ">(uint64_t(0x" + operand.substr(2) + "ull))";
        if (isdigit(static_cast<unsigned char>(operand[0])) || operand[0] == '-') {
            std::string number = operand;
            if (number.back() == 'U') number.pop_back();
            return "get<" + cpp + ">(int64_t(" +
                   (number[0] == '-' ? "-" + number.substr(1) + "ull" : number + "ull") + "))";
        }
        if (const auto found = shared_at.find(operand); found != shared_at.end())
            return "get<" + cpp + ">(uint64_t(" + std::to_string(found->second) + "))";
        if (operand == module.dynamic_shared) return "get<" + cpp + ">(uint64_t(STATIC_SHARED_BYTES))";
        if (locals.count(operand))
            return "get<" + cpp + ">(reinterpret_cast<uint64_t>(l_" + cpp_name(operand) + "))";
        if (module.globals.count(operand)) {
            globals.insert(operand);
            return "get<" + cpp + ">(reinterpret_cast<uint64_t>(&g_" + cpp_name(operand) + "))";
        }
        return "get<" + cpp + ">(" + name(operand) + ")"; // a register named by inline assembly
    }

    // Emits an assignment to a register; `_` discards the value.
    void write(const std::string& to, const std::string& value) {
        if (to == "_") {
            out << "(void)(" << value << ");";
        } else {
            out << "put(" << name(to) << ", " << value << ");";
        }
    }

    // `{a, b}` -> a, b
    static std::vector<std::string> elements(const std::string& vector) {
        if (vector[0] != '{') return {vector};
        return operands(vector.substr(1, vector.size() - 2));
    }

    // `[base+offset]`
    std::string address(const std::string& operand) {
        std::string inside = trimmed(operand.substr(1, operand.size() - 2));
        const size_t plus = inside.find('+');
        const std::string base = trimmed(inside.substr(0, plus));
        std::string sum = read(base, "u64");
        if (plus != std::string::npos) sum += " + uint64_t(" + inside.substr(plus + 1) + "ll)";
        return sum;
    }

    void instruction(const std::string& all, const std::vector<std::string>& op, const std::string& rest) {
        const std::vector<std::string> arg = operands(rest);
        const std::string& what = op[0];
        const auto has = [&](const char* modifier) {
            for (size_t i = 1; i < op.size(); ++i)
                if (op[i] == modifier) return true;
            return false;
        };
        const std::string t = op.back();
        const auto calls = [&](const std::string& function, std::initializer_list<std::string> types,
                               const char* more = "") {
            std::string call = function + "(";
            size_t i = 1;
            for (const std::string& one : types) call += (i > 1 ? ", " : "") + read(arg.at(i), one), ++i;
            write(arg[0], call + more + ")");
        };
        const std::string mode = has("rz") ? "Z" : has("rm") ? "M" : has("rp") ? "P" : "";
        static const std::map<std::string, std::string> two = {
            {"add", "add"},       {"sub", "subtract"}, {"min", "minimum"}, {"max", "maximum"},
            {"rem", "remainder"}, {"and", "bit_and"},  {"or", "bit_or"},   {"xor", "bit_xor"},
        };
        static const std::map<std::string, std::string> one = {
            {"neg", "negative"},     {"abs", "absolute"},       {"not", "bit_not"},
            {"sqrt", "square_root"}, {"rcp", "reciprocal"},     {"ex2", "exp2_flushed"},
            {"lg2", "log2_flushed"}, {"rsqrt", "inverse_root"}, {"clz", "leading_zeros"},
        };
        if (what == "ld") {
            load(arg, has("param"), has("shared"), t);
        } else if (what == "st") {
            store(arg, has("param"), has("shared"), t);
        } else if (what == "mov") {
            move(arg, t);
        } else if (what == "cvta") {
            write(arg[0], read(arg[1], "u64"));
        } else if (what == "cvt") {
            convert(op, arg);
        } else if ((what == "add" || what == "sub") && has("cc")) {
            calls(what + "_with_carry<true, false>", {"u32", "u32"}, ", carry");
        } else if (what == "addc" || what == "subc") {
            calls(what.substr(0, 3) + (has("cc") ? "_with_carry<true, true>" : "_with_carry<false, true>"),
                  {"u32", "u32"}, ", carry");
        } else if ((what == "mad" && has("cc")) || what == "madc") {
            const std::string flags = std::string(has("hi") ? "<true, " : "<false, ") +
                                      (has("cc") ? "true, " : "false, ") +
                                      (what == "madc" ? "true>" : "false>");
            calls("mad_with_carry" + flags, {"u32", "u32", "u32"}, ", carry");
        } else if (two.count(what)) {
            if (!mode.empty()) {
                calls("rounded_" + what + "<'" + mode + "'>", {t, t});
            } else {
                calls(two.at(what) + (has("NaN") ? "_or_nan" : ""), {t, t});
            }
        } else if (one.count(what)) {
            calls(one.at(what), {t});
        } else if (what == "mul" || what == "mad") {
            const bool mad = what == "mad";
            const std::string wide = t[0] == 's' ? "s64" : "u64";
            if (has("wide")) {
                if (size_of_type(t) != 4) unknown(all);
                const std::string w = type(wide);
                std::string value = w + "(" + read(arg[1], t) + ") * " + w + "(" + read(arg[2], t) + ")";
                if (mad) value = "add(" + w + "(" + value + "), " + read(arg[3], wide) + ")";
                write(arg[0], w + "(" + value + ")");
            } else if (has("hi")) {
                if (mad) unknown(all);
                calls("multiply_high", {t, t});
            } else if (mad) {
                write(arg[0], "add(multiply(" + read(arg[1], t) + ", " + read(arg[2], t) + "), " +
                                  read(arg[3], t) + ")");
            } else if (!mode.empty()) {
                unknown(all);
            } else {
                calls("multiply", {t, t});
            }
        } else if (what == "fma") {
            if (t == "bf16x2") {
                calls("fused_pair", {"b32", "b32", "b32"});
            } else {
                calls(mode.empty() ? "fused" : "rounded_fma<'" + mode + "'>", {t, t, t});
            }
        } else if (what == "div") {
            if (has("approx") || has("full")) unknown(all);
            calls("divide", {t, t});
        } else if (what == "shl") {
            calls("shift_left", {t, "u32"});
        } else if (what == "shr") {
            calls("shift_right", {t, "u32"});
        } else if (what == "copysign") {
            write(arg[0], "std::copysign(" + read(arg[2], t) + ", " + read(arg[1], t) + ")");
        } else if (what == "bfi") {
            calls("insert_bits", {t, t, "u32", "u32"});
        } else if (what == "selp") {
            write(arg[0], read(arg[3], "pred") + " ? " + read(arg[1], t) + " : " + read(arg[2], t));
        } else if (what == "setp") {
            if (op.size() != 3 || arg[0].find('|') != std::string::npos) unknown(all);
            calls("compare_" + op[1], {t, t});
        } else if (what == "set") {
            if (op.size() != 4 || t == "f16" || op[2] == "f16") unknown(all);
            const std::string truth = op[2][0] == 'f' ? "1.0f : 0.0f" : "0xffffffffu : 0u";
            if (op[2] == "f32" && arg[0][1] != 'f') {
                // In the inline assembly of CUDA's headers, the destination register holds the float's bits.
                write(arg[0], "compare_" + op[1] + "(" + read(arg[1], t) + ", " + read(arg[2], t) +
                                  ") ? 1.0f : 0.0f");
            } else {
                write(arg[0],
                      "compare_" + op[1] + "(" + read(arg[1], t) + ", " + read(arg[2], t) + ") ? " + truth);
            }
        } else if (what == "bra") {
            out << "goto " << cpp_name(arg[0]) << ";";
        } else if (what == "ret" || what == "exit") {
            out << "return;";
        } else if (what == "call") {
            if (rest.find("__assertfail") == std::string::npos) unknown(all);
            out << "on_host::fail(\"assertion failed in the kernel\");";
        } else if (what == "bar") {
            if (op[1] != "sync" || arg.size() != 1 || arg[0] != "0") unknown(all);
            together = true;
            out << "__syncthreads();";
        } else if (what == "shfl") {
            together = true;
            const size_t bar = arg[0].find('|');
            const std::string to = trimmed(arg[0].substr(0, bar));
            out << "const Shuffled s = shuffle<Shuffling::" << op[2] << ">(" << read(arg[1], "b32") << ", "
                << read(arg[2], "u32") << ", " << read(arg[3], "u32") << "); ";
            write(to, "s.value");
            if (bar != std::string::npos) write(trimmed(arg[0].substr(bar + 1)), "s.in_range");
        } else if (what == "vote") {
            if (op[2] != "any") unknown(all);
            together = true;
            calls("warp_any", {"pred"});
        } else if (what == "mma") {
            if (all.find("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") != 0) unknown(all);
            together = true;
            mma(arg);
        } else if (what == "ldmatrix") {
            together = true;
            const bool transposed = has("trans");
            out << "unsigned m[4]; ldmatrix_x4" << (transposed ? "_trans" : "") << "(m, unsigned("
                << address(arg[1]) << ")); ";
            const std::vector<std::string> to = elements(arg[0]);
            if (to.size() != 4) unknown(all);
            for (size_t i = 0; i < 4; ++i) write(to[i], "m[" + std::to_string(i) + "]");
        } else if (what == "cp" && op[1] == "async") {
            together = true;
            if (op[2] == "commit_group") {
                out << "cp_async_commit();";
            } else if (op[2] == "wait_group") {
                out << "cp_async_wait<" << arg[0] << ">();";
            } else {
                if (arg[2] != "16") unknown(all);
                const std::string bytes = arg.size() > 3 ? read(arg[3], "u32") : "16u";
                out << "copy_async(unsigned(" << address(arg[0]) << "), " << address(arg[1]) << ", " << bytes
                    << ");";
            }
        } else if (what == "atom") {
            if (op[1] != "global") unknown(all);
            const std::string at = address(arg[1]);
            if (op[2] == "add") {
                write(arg[0], "atomic_add<" + type(t) + ">(" + at + ", " + read(arg[2], t) + ")");
            } else if (op[2] == "cas") {
                write(arg[0], "atomic_swap<" + type(t) + ">(" + at + ", " + read(arg[2], t) + ", " +
                                  read(arg[3], t) + ")");
            } else {
                unknown(all);
            }
        } else {
            unknown(all);
        }
    }

    void load(const std::vector<std::string>& arg, bool param, bool shared, const std::string& t) {
        const std::vector<std::string> to = elements(arg[0]);
        const std::string n = std::to_string(to.size()), cpp = type(t);
        if (param) {
            const std::string inside = trimmed(arg[1].substr(1, arg[1].size() - 2));
            const size_t plus = inside.find('+');
            const auto at = entry.parameter_at.find(trimmed(inside.substr(0, plus)));
            if (at == entry.parameter_at.end()) unknown("parameter " + inside);
            const size_t offset =
                at->second + (plus == std::string::npos ? 0 : std::stoul(inside.substr(plus + 1)));
            out << "const auto v = from_parameters<" << cpp << ", " << n << ">(t, " << offset << "); ";
        } else {
            out << "const auto v = " << (shared ? "from_shared<" : "from_memory<") << cpp << ", " << n << ">("
                << (shared ? "t, " : "") << address(arg[1]) << "); ";
        }
        for (size_t i = 0; i < to.size(); ++i) write(to[i], "v[" + std::to_string(i) + "]");
    }

    void store(const std::vector<std::string>& arg, bool param, bool shared, const std::string& t) {
        if (param) return; // arguments of __assertfail
        const std::vector<std::string> from = elements(arg[1]);
        out << (shared ? "to_shared<" : "to_memory<") << type(t) << ", " << from.size() << ">("
            << (shared ? "t, " : "") << address(arg[0]) << ", {";
        for (size_t i = 0; i < from.size(); ++i) out << (i ? ", " : "") << read(from[i], t);
        out << "});";
    }

    void move(const std::vector<std::string>& arg, const std::string& t) {
        const bool packs = arg[1][0] == '{', unpacks = arg[0][0] == '{';
        if (!packs && !unpacks) return write(arg[0], read(arg[1], t));
        const std::string half = t == "b64" ? "b32" : "b16", wide = type(t);
        if (t != "b64" && t != "b32") unknown("mov of a vector of type ." + t);
        const std::string bits = half == "b32" ? "32" : "16";
        if (packs) {
            const std::vector<std::string> from = elements(arg[1]);
            write(arg[0], wide + "(" + wide + "(" + read(from.at(0), half) + ") | " + wide + "(" +
                              read(from.at(1), half) + ") << " + bits + ")");
        } else {
            out << "const " << wide << " v = " << read(arg[1], t) << "; ";
            const std::vector<std::string> to = elements(arg[0]);
            write(to.at(0), type(half) + "(v)");
            write(to.at(1), type(half) + "(v >> " + bits + ")");
        }
    }

    void convert(const std::vector<std::string>& op, const std::vector<std::string>& arg) {
        const std::string from = op.back(), to = op[op.size() - 2];
        std::string mode = "N";
        bool saturates = false;
        for (size_t i = 1; i + 2 < op.size(); ++i) {
            if (op[i] == "rn" || op[i] == "rni")
                mode = "N";
            else if (op[i] == "rz" || op[i] == "rzi")
                mode = "Z";
            else if (op[i] == "rm" || op[i] == "rmi")
                mode = "M";
            else if (op[i] == "rp" || op[i] == "rpi")
                mode = "P";
            else if (op[i] == "sat")
                saturates = true;
            else if (op[i] != "ftz")
                unknown("cvt with ." + op[i]);
        }
        if (to == "bf16x2") {
            write(arg[0], "pack_bf16(" + read(arg[2], "f32") + ", " + read(arg[1], "f32") + ")");
            return;
        }
        bool integral = false; // rounds a float to an integral float
        for (size_t i = 1; i < op.size(); ++i)
            integral |= op[i].size() == 3 && op[i][0] == 'r' && op[i][2] == 'i';
        write(arg[0], "convert<" + type(to) + ", '" + mode + "', " + (integral ? "true" : "false") + ", " +
                          (saturates ? "true" : "false") + ">(" + read(arg[1], from) + ")");
    }

    void mma(const std::vector<std::string>& arg) {
        const std::vector<std::string> d = elements(arg[0]), a = elements(arg[1]), b = elements(arg[2]),
                                       c = elements(arg[3]);
        out << "float c[4] = {";
        for (size_t i = 0; i < 4; ++i) out << (i ? ", " : "") << read(c.at(i), "f32");
        out << "}; const unsigned a[4] = {";
        for (size_t i = 0; i < 4; ++i) out << (i ? ", " : "") << read(a.at(i), "b32");
        out << "}; mma_m16n8k16_bf16(c, a, " << read(b.at(0), "b32") << ", " << read(b.at(1), "b32") << "); ";
        for (size_t i = 0; i < 4; ++i) write(d.at(i), "c[" + std::to_string(i) + "]");
    }
};

} // namespace ptx
