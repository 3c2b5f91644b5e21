export const SHEET: Sheet;
/** One sheet for each document: it does not serve in another one, such as that of a picture-in-picture window. */
declare class Sheet {
    /** @param {Document} document @returns {CSSStyleSheet[]} none where there is no window to show it in */
    in(document: Document): CSSStyleSheet[];
    #private;
}
export {};
