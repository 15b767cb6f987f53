// OpenAI's JavaScript client at a realtime session; prints the types of events until a transcript is complete.
// node realtime_client.mjs FOLDER_WITH_node_modules BASE_URL AUDIO_AS_BASE64_FILE
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, baseURL, audio] = process.argv.slice(2);
const found = createRequire(`${folder}/node_modules/`);
const { OpenAI } = await import(pathToFileURL(found.resolve("openai")));
const { OpenAIRealtimeWS } = await import(pathToFileURL(found.resolve("openai/realtime/ws")));

const client = new OpenAI({ apiKey: "none", baseURL });
const models = (await client.models.list()).data.map((model) => model.id);
const session = new OpenAIRealtimeWS({ model: "whisper-1" }, client);
const kinds = [];
session.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
session.on("event", (event) => {
  kinds.push(event.type);
  if (event.type === "session.created") {
    const input = { transcription: { language: "en" }, noise_reduction: { type: "near_field" } };
    session.send({ type: "session.update", session: { type: "transcription", audio: { input } } });
    session.send({ type: "input_audio_buffer.append", audio: readFileSync(audio, "utf8") });
  }
  if (event.type === "conversation.item.input_audio_transcription.completed") {
    console.log(JSON.stringify({ models, kinds, transcript: event.transcript }));
    session.close();
  }
});
