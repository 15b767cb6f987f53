/** Recordings in this browser (IndexedDB): the list, the transcripts with their steps, and the files themselves. */

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Saved} Saved */

const NAME = "whisper_max";
const TABLES = Object.freeze({ recordings: "id", transcripts: "id", files: "id", pieces: ["id", "number"] });

/** Another page has saved the same transcript meanwhile. */
export class Conflict extends Error {}

export class Store {
  /** @param {IDBDatabase} database */
  constructor(database) {
    this.database = database;
  }

  /**
   * @returns {Promise<Store>}
   * @throws {DOMException} this browser keeps nothing
   */
  static async open() {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const [table, keyPath] of Object.entries(TABLES)) request.result.createObjectStore(table, { keyPath });
    };
    return new Store(await answer(request));
  }

  /** @returns {Promise<Entry[]>} the newest first */
  async list() {
    const entries = await this.read("recordings", (table) => table.getAll());
    return entries.sort((/** @type {Entry} */ a, /** @type {Entry} */ b) => b.created - a.created);
  }

  /** @param {Entry} entry */
  putEntry(entry) {
    return this.write(["recordings"], (tables) => tables.recordings.put(entry));
  }

  /** @param {string} id @returns {Promise<Saved | undefined>} */
  transcript(id) {
    return this.read("transcripts", (table) => table.get(id));
  }

  /**
   * Save a transcript, one revision above that which it was read as.
   * @param {Saved} saved
   * @throws {Conflict}
   */
  async putTranscript(saved) {
    let conflict = false;
    await this.write(["transcripts"], ({ transcripts }) => {
      transcripts.get(saved.id).onsuccess = (/** @type {any} */ { target }) => {
        conflict = (target.result?.revision ?? 0) !== saved.revision - 1;
        if (!conflict) transcripts.put(saved);
      };
    });
    if (conflict) throw new Conflict();
  }

  /** @param {string} id @param {Blob} blob */
  putFile(id, blob) {
    return this.write(["files", "pieces"], ({ files, pieces }) => {
      files.put({ id, blob });
      pieces.delete(piecesOf(id));
    });
  }

  /** @param {string} id @returns {Promise<Blob | undefined>} */
  async file(id) {
    return (await this.read("files", (table) => table.get(id)))?.blob;
  }

  /** @param {string} id @param {Uint8Array} peaks */
  putPeaks(id, peaks) {
    return this.write(["files"], ({ files }) => files.put({ id: peaksOf(id), peaks }));
  }

  /** @param {string} id @returns {Promise<Uint8Array | undefined>} */
  async peaks(id) {
    return (await this.read("files", (table) => table.get(peaksOf(id))))?.peaks;
  }

  /** Keep a piece of a recording that still goes on. @param {string} id @param {number} number @param {Blob} blob */
  putPiece(id, number, blob) {
    return this.write(["pieces"], ({ pieces }) => pieces.put({ id, number, blob }));
  }

  /** @param {string} id @returns {Promise<Blob[]>} in their order */
  async pieces(id) {
    const found = await this.read("pieces", (table) => table.getAll(piecesOf(id)));
    return found.map((/** @type {{blob: Blob}} */ { blob }) => blob);
  }

  /** @param {string} id */
  remove(id) {
    return this.write(["recordings", "transcripts", "files", "pieces"], (tables) => {
      for (const name of ["recordings", "transcripts", "files"]) tables[name].delete(id);
      tables.files.delete(peaksOf(id));
      tables.pieces.delete(piecesOf(id));
    });
  }

  /**
   * @param {string} table
   * @param {(table: IDBObjectStore) => IDBRequest} ask
   */
  read(table, ask) {
    return answer(ask(this.database.transaction(table).objectStore(table)));
  }

  /**
   * Resolves once it is on the disk, as far as the browser says.
   * @param {string[]} names
   * @param {(tables: Record<string, IDBObjectStore>) => void} act
   * @returns {Promise<void>}
   */
  write(names, act) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(names, "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      act(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
    });
  }
}

/** Where the peaks of a recording are, beside its file. @param {string} id */
const peaksOf = (id) => `${id} peaks`;

/** All pieces of one recording. @param {string} id */
const piecesOf = (id) => IDBKeyRange.bound([id, 0], [id, Infinity]);

/** @param {IDBRequest} request @returns {Promise<any>} */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
