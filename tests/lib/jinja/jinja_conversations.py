"""Random conversations of every shape that chat templates look at, and what else apply_chat_template passes to them."""
import random

TEXTS = ["", " ", "\n", "Hi", "  padded \n", "two\n\nlines", "naïve — 日本語 😀 a\u0301", "{{ x }}{% if y %}{# z #}", "<|im_end|></s>[INST]", "it's \"quoted\" \\n",
         "<think>\nhm\n</think>\n\nyes", "</think>", "tab\tnul\x00", "\u200b\u2028\u00a0", "[1, 2]", "{\"a\": 1}", "a" * 300, "None", "1.0", "null\r\nx", "<tool_call>{}</tool_call>",
         "ends with space ", "<|channel|>final<|message|>x", "%s %d {}"]
WORDS = ["city", "unit", "täg", "n", "deep", "type", "items", "enum"]


class Conversations:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.style = "any"

    def chance(self, share):
        return self.rng.random() < share

    def text(self):
        if self.chance(0.3):
            return "".join(self.rng.choice(TEXTS) for _ in range(self.rng.randrange(4)))
        return self.rng.choice(TEXTS)

    def value(self, depth=0):
        kinds = [lambda: self.text(), lambda: self.rng.randrange(-5, 1000), lambda: self.rng.random() * 10, lambda: self.chance(0.5), lambda: None]
        if depth < 2:
            kinds += [lambda: [self.value(depth + 1) for _ in range(self.rng.randrange(3))],
                      lambda: {self.rng.choice(WORDS): self.value(depth + 1) for _ in range(self.rng.randrange(3))}]
        return self.rng.choice(kinds)()

    def content(self, role):
        if self.style != "plain" and self.chance(1 if self.style == "parts" else 0.2):
            parts = [{"type": "text", "text": self.text()} for _ in range(self.rng.randrange(1, 3))]
            if role == "user" and self.chance(0.3):
                parts.insert(0, {"type": self.rng.choice(["image", "video"])})
            return parts
        return self.text()

    def call(self, number):
        arguments = {self.rng.choice(WORDS): self.value() for _ in range(self.rng.randrange(3))}
        call = {"type": "function", "function": {"name": self.rng.choice(["get_weather", "f", "sück"]), "arguments": arguments}}
        if self.chance(0.7):
            call["id"] = f"call{number:05d}"
        return call if self.chance(0.8) else call["function"]

    def assistant(self):
        message = {"role": "assistant", "content": self.content("assistant")}
        if self.style == "plain":
            return message
        if self.chance(0.3):
            message["reasoning_content"] = self.text()
            if self.chance(0.5):
                message["thinking"] = message["reasoning_content"]
        if self.chance(0.25):
            message["tool_calls"] = [self.call(i) for i in range(self.rng.randrange(1, 3))]
            if self.chance(0.3):
                message["content"] = None if self.chance(0.5) else ""
        return message

    def schema(self, depth=0):
        kind = self.rng.choice(["string", "integer", "number", "boolean", "array", "object"] if depth < 2 else ["string", "integer"])
        schema = {"type": kind}
        if self.chance(0.6):
            schema["description"] = self.text()
        if kind == "string" and self.chance(0.3):
            schema["enum"] = ["a", "b c"]
        if kind == "array" and self.chance(0.8):
            schema["items"] = self.schema(depth + 1)
        if kind == "object":
            schema["properties"] = {self.rng.choice(WORDS): self.schema(depth + 1) for _ in range(self.rng.randrange(3))}
            if self.chance(0.5):
                schema["required"] = list(schema["properties"])
        if self.chance(0.1):
            schema["nullable"] = True
        if self.chance(0.1):
            schema["default"] = self.value(2)
        return schema

    def tool(self):
        parameters = self.schema()
        parameters.update({"type": "object", "properties": {word: self.schema(1) for word in self.rng.sample(WORDS, self.rng.randrange(4))}})
        function = {"name": self.rng.choice(["get_weather", "f", "sück"]), "description": self.text(), "parameters": parameters}
        if self.chance(0.2):
            function["return"] = self.schema(1)
        return {"type": "function", "function": function}

    def messages(self):
        """Any messages, or plain turns one after the other, which all templates take, or the latter with lists as content."""
        self.style = self.rng.choice(["any", "any", "plain", "parts"])
        messages = []
        if self.chance(0.5 if self.style == "any" else 0.3):
            messages.append({"role": self.rng.choice(["system", "system", "system", "developer"]), "content": self.content("system")})
        if self.style != "any":
            for _ in range(self.rng.choice([1, 1, 2, 4])):
                messages += [{"role": "user", "content": self.content("user")}, self.assistant()]
            return messages[:-1] if self.chance(0.3) else messages
        for _ in range(self.rng.choice([0, 1, 1, 1, 2, 2, 3, 5])):
            messages.append({"role": "user", "content": self.content("user")})
            for _ in range(self.rng.choice([0, 1, 1, 1, 2])):
                message = self.assistant()
                messages.append(message)
                for call in message.get("tool_calls", []):
                    if self.chance(0.8):
                        answer = {"role": "tool", "content": self.content("tool") if self.chance(0.8) else self.value()}
                        for key, value in (("name", call.get("function", call)["name"]), ("tool_call_id", call.get("id", "call00000"))):
                            if self.chance(0.6):
                                answer[key] = value
                        messages.append(answer)
        if self.chance(0.05):
            messages.append({"role": self.rng.choice(["user", "weird", "ipython"]), "content": self.text()})
        if self.chance(0.05) and messages:
            del self.rng.choice(messages)[self.rng.choice(["role", "content"])]
        return messages

    def variables(self):
        variables = {"messages": self.messages(), "tools": None, "documents": None, "add_generation_prompt": self.chance(0.5)}
        if self.chance(0.3):
            variables["tools"] = [self.tool() for _ in range(self.rng.randrange(3))]
        if self.chance(0.05):
            variables["documents"] = [{"title": self.text(), "text": self.text()}]
        if self.chance(0.9):
            variables.update({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})
        for name, share in (("enable_thinking", 0.4), ("preserve_thinking", 0.1), ("thinking", 0.1), ("keep_past_thinking", 0.1), ("add_vision_id", 0.1), ("tools_in_user_message", 0.1)):
            if self.chance(share):
                variables[name] = self.chance(0.5)
        for name, values in (("reasoning_effort", ["low", "high", "none"]), ("model_identity", ["You are X."]), ("builtin_tools", [["browser"], ["python"]]), ("date_string", ["1 Jan 2026"])):
            if self.chance(0.1):
                variables[name] = self.rng.choice(values)
        return variables
